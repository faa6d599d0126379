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
    for folder in ("app", "workers", "infra/local")
    for path in sorted((ROOT / folder).rglob("*.py"))
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


@pytest.mark.parametrize("path", CODE, ids=named)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    generated = path.parent.name == "versions"
    assert generated or text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not generated:
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=named)
def test_test_files_are_short_too(path: Path) -> None:
    assert path.read_text().count("\n") <= MAX_FILE_LINES


def test_no_module_is_called_after_nothing() -> None:
    folders = (ROOT / name for name in ("app", "workers", "infra", "tests", "bench"))
    found = [
        named(path)
        for folder in folders
        for path in folder.rglob("*.py")
        if EMPTY_NAMES & {*path.relative_to(ROOT).parts[:-1], path.stem}
    ]
    assert found == []


@pytest.mark.parametrize("module", ["app.main", "app.dispatcher", "workers.celery_app"])
def test_a_process_needs_two_settings_and_nothing_else(module: str) -> None:
    """From a bare environment, in another folder, and without connecting to anything."""
    needed = {
        "MILLRACE_DATABASE_URL": "postgresql://user@127.0.0.1:1/none",
        "MILLRACE_BROKER_URL": "amqp://user@127.0.0.1:1/none",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        env=needed,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
