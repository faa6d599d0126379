"""The places that list all jobs, with one more in its place."""

import ast
from collections.abc import Iterable, Sequence

from infra.local.errors import BadOrder
from infra.local.new_job.order import Order
from infra.local.new_job.texts import readme_row

_TABLE = "| job | queue | tries |"


def with_contract(text: str, order: Order) -> str:
    """`app/jobs/__init__.py`: import, `__all__` and catalog."""
    module, name = f"app.jobs.{order.name}", order.class_name
    imports = [
        (node.module or "", node)
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app.jobs.")
    ]
    text = _insert(text, imports, module, f"from {module} import {name}")
    text = _insert(text, _exported(text, classes=True), name, f'    "{name}",')
    return _insert(text, _in_catalog(text), None, f"        {name},")


def with_handler(text: str, order: Order) -> str:
    """`workers/handlers/__init__.py`: import and `__all__`."""
    imported = [
        (alias.name, alias)
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module == "workers.handlers"
        for alias in node.names
    ]
    text = _insert(text, imported, order.name, f"    {order.name},")
    return _insert(text, _exported(text, classes=False), order.name, f'    "{order.name}",')


def with_row(text: str, order: Order) -> str:
    """`README.md`: the last line of the jobs' table."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(_TABLE)), None)
    if start is None:
        raise BadOrder(f"README.md has no table that begins with {_TABLE!r}.")
    end = start
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return "\n".join([*lines[:end], readme_row(order), *lines[end:]]) + "\n"


def _exported(text: str, *, classes: bool) -> list[tuple[str, ast.expr]]:
    """The names in `__all__` that are in capitals and small letters, or in small letters alone."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = [(ast.literal_eval(item), item) for item in _elements(node.value)]
            return [one for one in names if not one[0].isupper() and one[0].islower() != classes]
    return []


def _in_catalog(text: str) -> list[tuple[str, ast.expr]]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CATALOG":
            call = node.value
            if isinstance(call, ast.Call) and call.args:
                return [(ast.unparse(item), item) for item in _elements(call.args[0])]
    return []


def _elements(node: ast.expr) -> Sequence[ast.expr]:
    return node.elts if isinstance(node, ast.List | ast.Tuple) else ()


def _insert(
    text: str,
    listed: Iterable[tuple[str, ast.stmt | ast.expr | ast.alias]],
    key: str | None,
    line: str,
) -> str:
    """`line` before the first item whose name sorts after `key`, or behind the last one."""
    items = list(listed)
    if not items:
        raise BadOrder(f"There is no list to put {line.strip()!r} in.")
    lines = text.splitlines()
    at = items[-1][1].end_lineno or 0
    for name, node in items:
        if key is not None and name > key:
            at = node.lineno - 1
            break
    return "\n".join([*lines[:at], line, *lines[at:]]) + "\n"
