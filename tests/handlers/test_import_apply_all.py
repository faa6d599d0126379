"""All rows or none: by one transaction, whatever happens to it on the way."""

from typing import Any

import pytest
from sqlalchemy import Engine

from app.imports import at_once
from app.imports.lifecycle import cancel_import
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import (
    accepted_import,
    chunk_rows,
    contacts,
    counts,
    csv_bytes,
    dispatch,
    import_row,
    rejects,
    run_imports,
    small_batches,
    undo,
)
from tests.support.jobs import children, job_facts, requeue
from tests.support.runtime import Worker

PEOPLE = [[f"user{number}@example.com", f"User {number}"] for number in range(60)]
HEADER = ["Email", "First name"]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "300"}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 300)


def accepted(
    engine: Engine, storage: Storage, tenant: Customer, *rows: list[str], **options: Any
) -> Any:
    data = csv_bytes(HEADER, *rows)
    return accepted_import(engine, storage, tenant.id, data, all_or_nothing=True, **options)


def test_a_file_without_fault_is_imported_whole(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted(engine, storage, tenant, *PEOPLE)
    ((plan, _),) = dispatch(engine)
    worker.deliver(plan)
    assert children(engine, plan) == ["import.apply_all"]
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], counts(row)) == ("succeeded", (60, 60, 0, 0, 0))
    assert row["rows_done"] == 60
    assert row["chunks_done"] == row["chunks_total"] > 2
    assert len(contacts(engine, tenant.id)) == 60
    undo(engine, tenant.id, import_id)
    run_imports(worker, engine)
    assert contacts(engine, tenant.id) == {}


def test_one_bad_row_at_the_end_leaves_nothing_behind(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    accepted_import(engine, storage, tenant.id, csv_bytes(HEADER, PEOPLE[3]))
    run_imports(worker, engine)
    before = contacts(engine, tenant.id)
    changed = [[email, f"{name}!"] for email, name in PEOPLE]
    import_id = accepted(engine, storage, tenant, *changed, ["nobody", "N"])
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "rows_rejected")
    assert counts(row) == (61, 0, 0, 0, 1)
    assert contacts(engine, tenant.id) == before
    found = rejects(engine, storage, tenant.id, import_id)
    assert {number: column for number, (column, _) in found.items()} == {62: "Email"}
    assert all(chunk["applied_at"] is None for chunk in chunk_rows(engine, import_id))


def test_rows_that_the_policy_refuses_are_rejected_ones(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    accepted_import(engine, storage, tenant.id, csv_bytes(HEADER, PEOPLE[-1]))
    run_imports(worker, engine)
    import_id = accepted(engine, storage, tenant, *PEOPLE, policy="insert")
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], counts(row)) == ("failed", (60, 0, 0, 0, 1))
    assert list(rejects(engine, storage, tenant.id, import_id)) == [61]
    assert len(contacts(engine, tenant.id)) == 1


def test_a_dry_run_of_it_says_how_it_would_end(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted(engine, storage, tenant, *PEOPLE, ["nobody", "N"], dry_run=True)
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "rows_rejected")
    assert counts(row) == (61, 60, 0, 0, 1)
    assert contacts(engine, tenant.id) == {}


def interrupted(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, act: Any, *, after: int
) -> list[int]:
    """Do `act` after so many chunks; returns how many rows others saw as done, chunk by chunk."""
    show = at_once.show_progress
    seen: list[int] = []

    def showing(tx: Any, import_id: Any, done: Any, *, seconds: float) -> bool:
        if len(done) == after:
            act()
        going_on = show(tx, import_id, done, seconds=seconds)
        tx.commit()
        seen.append(import_row(engine, import_id)["rows_done"])
        return going_on

    monkeypatch.setattr(at_once, "show_progress", showing)
    return seen


def test_progress_is_seen_before_the_rows_are(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> None:
        assert contacts(engine, tenant.id) == {}

    seen = interrupted(monkeypatch, engine, look, after=2)
    accepted(engine, storage, tenant, *PEOPLE)
    run_imports(worker, engine)
    assert seen == sorted(set(seen))
    assert seen[-1] == 60


def test_cancelled_in_the_middle_it_writes_nothing(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_id = accepted(engine, storage, tenant, *PEOPLE)

    def cancel() -> None:
        with engine.begin() as tx:
            cancel_import(tx, tenant.id, import_id)

    seen = interrupted(monkeypatch, engine, cancel, after=2)
    run_imports(worker, engine)
    assert len(seen) == 2
    assert import_row(engine, import_id)["status"] == "cancelled"
    assert contacts(engine, tenant.id) == {}


def test_an_attempt_that_fails_leaves_nothing_and_the_next_does_all(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_id = accepted(engine, storage, tenant, *PEOPLE)
    ((plan, _),) = dispatch(engine)
    worker.deliver(plan)
    ((job_id, _),) = dispatch(engine)

    def fall() -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        interrupted(patch, engine, fall, after=3)
        worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    assert contacts(engine, tenant.id) == {}
    requeue(engine, job_id)
    worker.deliver(job_id)
    assert counts(import_row(engine, import_id)) == (60, 60, 0, 0, 0)
