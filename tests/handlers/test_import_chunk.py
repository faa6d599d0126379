"""Importing a chunk: its rows, its rejects and its tick are one commit, and happen once."""

from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.jobs import ImportChunk
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
)
from tests.support.jobs import add_queued, children, claim_now, job_facts
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

HEADER = ["Email", "First name", "Phone", "Plan"]


def planned(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, *rows: list[str]
) -> tuple[UUID, list[UUID]]:
    """An import of these rows and its chunk jobs, published."""
    data = csv_bytes(HEADER, *rows)
    import_id = accepted_import(engine, storage, tenant.id, data)
    ((plan, _),) = dispatch(engine)
    assert worker.deliver(plan) is Disposition.ACKNOWLEDGE
    return import_id, [job_id for job_id, kind in dispatch(engine) if kind == "import.chunk"]


def imported(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, *rows: list[str]
) -> UUID:
    import_id = accepted_import(engine, storage, tenant.id, csv_bytes(HEADER, *rows))
    run_imports(worker, engine)
    return import_id


ADA = ["ada@example.com", "Ada", "1", "free"]
BOB = ["bob@example.com", "Bob", "2", "team"]


def test_rows_are_inserted_and_the_last_chunk_ends_the_import(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id, (job_id,) = planned(worker, engine, storage, tenant, ADA, BOB)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    row = import_row(engine, import_id)
    assert row["status"] == "succeeded"
    assert counts(row) == (2, 2, 0, 0, 0)
    assert row["rows_done"] == 2
    assert row["bytes_done"] == row["bytes_total"]
    assert children(engine, job_id) == ["mail.import_finished"]
    kept = contacts(engine, tenant.id)
    assert kept["ada@example.com"]["first_name"] == "Ada"
    assert kept["bob@example.com"]["attributes"] == {"Plan": "team"}


def test_the_same_rows_again_change_nothing(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    imported(worker, engine, storage, tenant, ADA, BOB)
    before = contacts(engine, tenant.id)
    again = imported(worker, engine, storage, tenant, ADA, BOB)
    assert counts(import_row(engine, again)) == (2, 0, 0, 2, 0)
    assert contacts(engine, tenant.id) == before


def test_an_empty_cell_says_nothing_and_attributes_are_merged(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    imported(worker, engine, storage, tenant, ADA, BOB)
    with engine.begin() as tx:
        tx.execute(text('UPDATE contacts SET attributes = attributes || \'{"Other": "kept"}\''))
    rows = [["ADA@example.com", "", "9", "team"], ["bob@example.com", "", "", ""]]
    second = imported(worker, engine, storage, tenant, *rows)
    assert counts(import_row(engine, second)) == (2, 0, 1, 1, 0)
    ada = contacts(engine, tenant.id)["ada@example.com"]
    assert (ada["first_name"], ada["phone"]) == ("Ada", "9")
    assert ada["attributes"] == {"Plan": "team", "Other": "kept"}
    assert ada["updated_at"] > ada["created_at"]


def test_tenants_do_not_share_contacts(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
) -> None:
    imported(worker, engine, storage, tenant, ADA)
    theirs = imported(worker, engine, storage, stranger, ["ada@example.com", "Other", "", ""])
    assert counts(import_row(engine, theirs)) == (1, 1, 0, 0, 0)
    assert contacts(engine, tenant.id)["ada@example.com"]["first_name"] == "Ada"


def test_a_chunk_that_is_delivered_again_is_counted_once(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id, (job_id,) = planned(worker, engine, storage, tenant, ADA, ["nobody", "", "", ""])
    with engine.begin() as tx:
        assert claim_now(tx, job_id) is not None
    for _ in range(2):
        assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert counts(import_row(engine, import_id)) == (2, 1, 0, 0, 1)
    ((row, (column, _)),) = rejects(engine, storage, tenant.id, import_id).items()
    assert (row, column) == (3, "Email")


def test_a_chunk_that_can_never_be_imported_fails_the_import(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id, (job_id,) = planned(worker, engine, storage, tenant, ADA)
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET max_attempts = 1 WHERE id = :id"), {"id": job_id})
    storage.delete(import_row(engine, import_id)["object_key"])
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    row = import_row(engine, import_id)
    assert row["status"] == "failed"
    assert row["error"]["message"].startswith("Part 1 of the file could not be imported")
    assert children(engine, job_id) == ["mail.import_finished"]
    assert contacts(engine, tenant.id) == {}


class TestManyChunks:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {
            **environment,
            "MILLRACE_IMPORT_CHUNK_BYTES": "1",
            "MILLRACE_IMPORT_PARALLEL_CHUNKS": "9",
        }

    @pytest.fixture(autouse=True)
    def _a_row_a_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small_batches(monkeypatch, 40)

    def test_chunks_may_be_done_in_any_order_and_the_first_row_wins(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        rows = [ADA, BOB, ["ada@EXAMPLE.com", "Last", "", "plus"], ["x", "", "", ""], ["a@b.co"]]
        import_id, chunks = planned(worker, engine, storage, tenant, *rows)
        assert len(chunks) == len(chunk_rows(engine, import_id)) > 2
        for job_id in reversed(chunks):
            assert import_row(engine, import_id)["status"] == "running"
            assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        row = import_row(engine, import_id)
        assert (row["status"], counts(row)) == ("succeeded", (5, 2, 0, 0, 3))
        found = rejects(engine, storage, tenant.id, import_id)
        assert {number: column for number, (column, _) in found.items()} == {
            4: "Email",
            5: "Email",
            6: "",
        }
        assert "Row 2 " in found[4][1]
        assert contacts(engine, tenant.id)["ada@example.com"]["first_name"] == "Ada"
        assert {job_facts(engine, one).state for one in chunks} == {"succeeded"}

    def test_a_second_job_for_a_finished_chunk_counts_nothing(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        import_id, (first, *_) = planned(worker, engine, storage, tenant, ADA, BOB, ADA)
        assert worker.deliver(first) is Disposition.ACKNOWLEDGE
        before = import_row(engine, import_id)
        again = add_queued(engine, tenant.id, ImportChunk(import_id=import_id, index=0))
        worker.deliver(again)
        assert job_facts(engine, again).state == "cancelled"
        assert import_row(engine, import_id) == before
