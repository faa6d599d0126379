"""The shape of the code: layers, files of one stem, sizes, and names that say something."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs import CATALOG
from workers import handlers
from workers.runtime.registry import registrations

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
CODE = [
    path
    for folder in ("app", "workers", "infra/local", "infra/compose")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.parent.name != "versions"  # migrations, which nobody reads twice
]
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def stems(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "conftest"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def test_every_contract_has_a_handler_and_a_test_of_its_own_stem() -> None:
    assert stems("app/jobs") == stems("workers/handlers")
    assert {f"test_{stem}" for stem in stems("app/jobs")} == stems("tests/handlers")


@pytest.mark.parametrize("kind", CATALOG)
def test_each_contract_is_handled_in_the_file_of_its_name(kind: str) -> None:
    contract = CATALOG[kind]
    stem = contract.__module__.rpartition(".")[2]
    registration = registrations()[kind]
    assert registration.contract is contract
    assert registration.handler.__module__ == f"workers.handlers.{stem}"


def test_no_handler_is_without_a_contract_in_the_catalog() -> None:
    ours = {
        kind
        for kind, registration in registrations().items()
        if registration.handler.__module__.startswith(handlers.__name__)
    }
    assert ours == set(CATALOG)


def test_files_are_short() -> None:
    files = [*CODE, *(ROOT / "tests").rglob("*.py")]
    lines = {named(path): path.read_text().count("\n") for path in files}
    assert {name: number for name, number in lines.items() if number > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{named(path)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_no_module_is_called_after_nothing() -> None:
    folders = (ROOT / name for name in ("app", "workers", "infra", "tests", "bench"))
    found = [
        named(path)
        for folder in folders
        for path in folder.rglob("*.py")
        if EMPTY_NAMES & {*path.relative_to(ROOT).parts[:-1], path.stem}
    ]
    assert found == []
