"""A dry run goes over the whole file and tells what an import would do, at no effect."""

import csv
import io
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.errors import Conflict
from app.imports.downloads import changes_csv
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import (
    accepted_import,
    contacts,
    counts,
    csv_bytes,
    import_row,
    rejects,
    retried_import,
    run_imports,
    small_batches,
    undo,
)
from tests.support.runtime import Worker

HEADER = ["Email", "First name", "Company", "Plan"]
THERE = [
    ["ada@example.com", "Ada", "ACME", "free"],
    ["bob@example.com", "Bob", "ACME", "free"],
    ["cyd@example.com", "Cyd", "ACME", "free"],
]
FILE = [
    ["ada@example.com", "Ada", "=Evil", "paid"],
    ["bob@example.com", "Bob", "", "free"],
    ["new@example.com", "New", "", ""],
    ["ADA@example.com", "Other", "", ""],
    ["nobody", "N", "", ""],
]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "40"}


class Trial:
    def __init__(self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> None:
        self.worker, self.engine, self.storage, self.tenant = worker, engine, storage, tenant

    def run(self, rows: list[list[str]], **options: Any) -> Any:
        data = csv_bytes(HEADER, *rows)
        import_id = accepted_import(self.engine, self.storage, self.tenant.id, data, **options)
        run_imports(self.worker, self.engine)
        return import_id

    def everything(self) -> list[Any]:
        with self.engine.connect() as tx:
            return list(tx.execute(text("SELECT c.*, c.xmin FROM contacts c ORDER BY id")))

    def changes(self, import_id: Any) -> list[dict[str, str]]:
        data = b"".join(changes_csv(self.engine, self.storage, self.tenant.id, import_id))
        return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.fixture
def trial(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    small_batches(monkeypatch, 60)
    made = Trial(worker, engine, storage, tenant)
    made.run(THERE)
    return made


def test_nothing_is_written_and_the_counts_are_those_of_a_run(trial: Trial) -> None:
    before = trial.everything()
    dry = trial.run(FILE, dry_run=True)
    assert trial.everything() == before
    told = import_row(trial.engine, dry)
    assert (told["status"], told["chunks_total"] > 1) == ("succeeded", True)
    wet = trial.run(FILE)
    assert counts(told) == counts(import_row(trial.engine, wet)) == (5, 1, 1, 1, 2)


def test_the_changes_are_told_field_by_field(trial: Trial) -> None:
    dry = trial.run(FILE, dry_run=True)
    assert trial.changes(dry) == [
        dict(zip(["_row", "action", "key", "field", "before", "after"], line, strict=True))
        for line in (
            ["2", "update", "ada@example.com", "company", "ACME", "'=Evil"],
            ["2", "update", "ada@example.com", "attributes.Plan", "free", "paid"],
            ["4", "insert", "new@example.com", "", "", ""],
        )
    ]
    found = rejects(trial.engine, trial.storage, trial.tenant.id, dry)
    assert {number: column for number, (column, _) in found.items()} == {5: "Email", 6: "Email"}


@pytest.mark.parametrize(
    ("policy", "expected"), [("insert", (5, 1, 0, 0, 4)), ("update", (5, 0, 1, 1, 3))]
)
def test_it_follows_the_policy(trial: Trial, policy: str, expected: tuple[int, ...]) -> None:
    dry = trial.run(FILE, dry_run=True, policy=policy)
    assert counts(import_row(trial.engine, dry)) == expected
    wet = trial.run(FILE, policy=policy)
    assert counts(import_row(trial.engine, wet)) == expected
    told = [
        rejects(trial.engine, trial.storage, trial.tenant.id, import_id) for import_id in (dry, wet)
    ]
    assert told[0] == told[1]


def test_it_can_be_neither_undone_nor_repeated(trial: Trial) -> None:
    dry = trial.run(FILE, dry_run=True)
    with pytest.raises(Conflict, match="dry run"):
        undo(trial.engine, trial.tenant.id, dry)
    with pytest.raises(Conflict, match="dry run"):
        retried_import(trial.engine, trial.storage, trial.tenant.id, dry)


def test_a_real_run_has_no_changes_to_fetch(trial: Trial) -> None:
    wet = trial.run(FILE)
    with pytest.raises(Conflict, match="no dry run"):
        trial.changes(wet)
    assert len(contacts(trial.engine, trial.tenant.id)) == 4
