"""Writes all of it, or leaves everything as it was."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from infra.local.errors import BadOrder
from infra.local.new_job.listings import with_contract, with_handler, with_row
from infra.local.new_job.order import Order
from infra.local.new_job.texts import text_of_contract, text_of_handler, text_of_test


def write_job(root: Path, order: Order) -> list[Path]:
    """The files that were written and changed, below `root`. Raises BadOrder, and has changed nothing
    then.
    """
    new = {
        root / "app/jobs" / f"{order.name}.py": text_of_contract(order),
        root / "workers/handlers" / f"{order.name}.py": text_of_handler(order),
        root / "tests/handlers" / f"test_{order.name}.py": text_of_test(order),
    }
    golden = root / "tests/golden" / order.kind
    _refuse_what_is_there(root, order, [*new, golden])
    listings = {
        root / "app/jobs/__init__.py": with_contract,
        root / "workers/handlers/__init__.py": with_handler,
        root / "README.md": with_row,
    }
    before = {path: path.read_text() for path in listings}
    changed = {path: change(before[path], order) for path, change in listings.items()}
    try:
        for path, text in {**new, **changed}.items():
            _write(path, text)
        _record(root, order)
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        for path, text in before.items():
            _write(path, text)
        _forget(golden)
        raise
    return [*new, *changed, golden / "v1.json"]


def _refuse_what_is_there(root: Path, order: Order, paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise BadOrder(f"{path.relative_to(root)} is there already. Choose another name.")
    kind = f'kind="{order.kind}"'
    for path in sorted((root / "app/jobs").glob("*.py")):
        if kind in path.read_text():
            raise BadOrder(
                f"{path.relative_to(root)} has the kind {order.kind}. Choose another: --kind"
            )


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _record(root: Path, order: Order) -> None:
    """In a process of its own, which reads what was just written."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "contracts", "record", order.kind],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BadOrder(f"The contract could not be recorded: {done.stderr.strip()[-500:]}")


def _forget(golden: Path) -> None:
    (golden / "v1.json").unlink(missing_ok=True)
    with suppress(OSError):
        golden.rmdir()
