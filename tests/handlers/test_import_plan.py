"""Planning an import: chunks and jobs are committed as they are found, once; or a failure that is told."""

import gzip
import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any
from unittest.mock import ANY

import pytest
from sqlalchemy import Engine, text

from app.imports import chunks as recording
from app.imports.lifecycle import cancel_import
from app.imports.limits import set_limits
from app.storage import Storage
from app.tabular.batch import Batch
from app.tabular.detect import Table
from tests.support.customers import Customer
from tests.support.flows import batch_of
from tests.support.imports import (
    accepted_import,
    chunk_rows,
    contacts,
    counts,
    dispatch,
    import_row,
    run_imports,
    small_batches,
)
from tests.support.jobs import (
    assert_lawful,
    children,
    claim_now,
    count,
    job_facts,
    put_off,
    requeue,
)
from tests.support.runtime import Worker
from workers.handlers import import_plan as handler
from workers.runtime.executor import Disposition

ROWS = b"".join(b"user%d@example.com,User\n" % number for number in range(100))
FILE = b"email,name\n" + ROWS
WINDOW = 2


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_IMPORT_CHUNK_BYTES": "200",
        "MILLRACE_IMPORT_PARALLEL_CHUNKS": str(WINDOW),
    }


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 100)


class Crash(Exception):
    """Stands for the worker's end."""


def break_after(patch: pytest.MonkeyPatch, batches: int) -> None:
    """Have the reading of the next file end in a crash."""
    whole = Table.batches

    def some(table: Table) -> Iterator[Batch]:
        yield from islice(whole(table), batches)
        raise Crash

    patch.setattr(Table, "batches", some)


def test_a_file_is_cut_into_chunks_and_the_first_ones_get_a_job(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    ((job_id, kind),) = dispatch(engine)
    assert kind == "import.plan"
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    row = import_row(engine, import_id)
    assert (row["status"], row["total"], row["bytes_total"]) == ("running", 100, len(FILE))
    assert row["chunks_total"] == len(chunk_rows(engine, import_id)) > 4
    assert children(engine, job_id) == ["import.chunk"] * row["chunks_total"]
    assert dispatch(engine) == [(ANY, "import.chunk")] * WINDOW
    assert row["started_at"] is not None
    assert row["planned_at"] is not None


def test_each_chunk_that_is_done_makes_room_for_one(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    query = text("""
        SELECT count(*) FROM jobs WHERE kind = 'import.chunk'
        AND state NOT IN ('waiting', 'succeeded', 'dead', 'cancelled')
    """)
    most = 0

    def look() -> None:
        nonlocal most
        with engine.connect() as tx:
            most = max(most, tx.execute(query).scalar_one())

    run_imports(worker, engine, between=look)
    assert most == WINDOW
    row = import_row(engine, import_id)
    assert (row["status"], counts(row)) == ("succeeded", (100, 100, 0, 0, 0))
    assert row["chunks_done"] == row["chunks_total"]
    facts = batch_of(engine, row["batch_id"])
    assert (facts.state, facts.total) == ("succeeded", row["chunks_total"])
    assert_lawful(engine)


def test_what_a_crash_left_is_kept_and_the_next_attempt_goes_on(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    ((job_id, _),) = dispatch(engine)
    with monkeypatch.context() as patch:
        break_after(patch, 12)
        worker.deliver(job_id)
    put_off(engine, job_id)
    before = chunk_rows(engine, import_id)
    row = import_row(engine, import_id)
    assert 2 <= len(before) == row["chunks_total"]
    assert 0 < row["total"] < 100
    assert (row["status"], row["planned_at"]) == ("running", None)
    run_imports(worker, engine)
    assert import_row(engine, import_id)["status"] == "running"
    requeue(engine, job_id)
    worker.deliver(job_id)
    run_imports(worker, engine)
    after = chunk_rows(engine, import_id)
    kept = ("byte_start", "byte_end", "first_row", "rows")
    assert [[c[n] for n in kept] for c in after[: len(before)]] == [
        [c[n] for n in kept] for c in before
    ]
    row = import_row(engine, import_id)
    assert (row["status"], counts(row)) == ("succeeded", (100, 100, 0, 0, 0))
    assert len(contacts(engine, tenant.id)) == 100


def test_planning_again_after_its_end_doubles_nothing(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    ((job_id, _),) = dispatch(engine)
    with engine.begin() as tx:
        assert claim_now(tx, job_id) is not None
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    chunks = import_row(engine, import_id)["chunks_total"]
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert count(engine, "import_chunks") == chunks
    assert assert_lawful(engine) == 1 + chunks


def test_a_plan_that_takes_long_gives_its_message_back_and_goes_on(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handler, "ROUND_SECONDS", -1)
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    ((job_id, _),) = dispatch(engine)
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    assert job_facts(engine, job_id).max_attempts == 6
    run_imports(worker, engine)
    assert counts(import_row(engine, import_id)) == (100, 100, 0, 0, 0)


def test_a_file_with_a_header_alone_succeeds_at_once(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, b"email\n")
    ((job_id, _),) = dispatch(engine)
    worker.deliver(job_id)
    row = import_row(engine, import_id)
    assert (row["status"], row["total"], row["bytes_done"]) == ("succeeded", 0, 6)
    assert children(engine, job_id) == ["mail.import_finished"]


def test_what_can_not_be_read_from_the_middle_is_stored_chunk_by_chunk(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(
        engine, storage, tenant.id, gzip.compress(FILE), filename="people.csv.gz"
    )
    run_imports(worker, engine)
    chunks = chunk_rows(engine, import_id)
    assert len(chunks) > 4
    assert all(chunk["object_key"] for chunk in chunks)
    row = import_row(engine, import_id)
    assert (row["status"], counts(row)) == ("succeeded", (100, 100, 0, 0, 0))
    assert row["bytes_done"] == row["bytes_total"]


def test_a_file_that_turns_out_to_be_unreadable_fails_and_what_went_before_is_told(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    rows = b"".join(b"person%d@example.com,Person\n" % number for number in range(400))
    import_id = accepted_import(engine, storage, tenant.id, FILE + rows + b"x" * 3_000_000)
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "line_too_long")
    assert row["error"]["message"].endswith("Nothing was imported.")
    assert row["finished_at"] is not None
    run_imports(worker, engine)
    assert contacts(engine, tenant.id) == {}


def test_too_many_rows_fail_the_import(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    with engine.begin() as tx:
        set_limits(tx, tenant.id, max_bytes=None, max_rows=99, max_open=None)
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "too_many_rows")
    assert "99 rows" in row["error"]["message"]


def test_a_file_that_is_not_there_is_tried_again(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    storage.delete(import_row(engine, import_id)["object_key"])
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "scheduled"
    assert import_row(engine, import_id)["status"] == "running"


class TestChecksum:
    def test_the_file_that_was_announced_is_imported(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        announced = hashlib.sha256(FILE).hexdigest().upper()
        import_id = accepted_import(engine, storage, tenant.id, FILE, checksum=announced)
        run_imports(worker, engine)
        assert import_row(engine, import_id)["status"] == "succeeded"

    def test_of_another_file_nothing_is(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        import_id = accepted_import(engine, storage, tenant.id, FILE, checksum="0" * 64)
        run_imports(worker, engine)
        row = import_row(engine, import_id)
        assert (row["status"], row["error"]["code"]) == ("failed", "checksum_mismatch")
        assert contacts(engine, tenant.id) == {}
        assert count(engine, "import_chunks") == 0


class TestCancel:
    def test_before_it_is_planned(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        import_id = accepted_import(engine, storage, tenant.id, FILE)
        with engine.begin() as tx:
            cancel_import(tx, tenant.id, import_id)
        (job_id,) = [job_id for job_id, kind in dispatch(engine) if kind == "import.plan"]
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert job_facts(engine, job_id).state == "cancelled"
        assert import_row(engine, import_id)["chunks_total"] is None

    def test_while_it_is_planned_nothing_more_is_recorded(
        self,
        worker: Worker,
        engine: Engine,
        storage: Storage,
        tenant: Customer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import_id = accepted_import(engine, storage, tenant.id, FILE)
        ((job_id, _),) = dispatch(engine)
        recorded: list[int] = []
        record = recording.record

        def interrupted(*args: Any, **more: Any) -> Any:
            if len(recorded) == 2:
                with engine.begin() as tx:
                    cancel_import(tx, tenant.id, import_id)
            recorded.append(count(engine, "import_chunks"))
            return record(*args, **more)

        monkeypatch.setattr(recording, "record", interrupted)
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert job_facts(engine, job_id).state == "cancelled"
        assert len(recorded) == 3
        assert count(engine, "import_chunks") == recorded[-1]
        run_imports(worker, engine)
        row = import_row(engine, import_id)
        assert (row["status"], row["rows_done"]) == ("cancelled", 0)
        assert contacts(engine, tenant.id) == {}
