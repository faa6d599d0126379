"""Planning an import: chunks and their jobs in one commit, once; or a failure that is told."""

import pytest
from sqlalchemy import Engine

from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import accepted_import, dispatch, import_row
from tests.support.jobs import assert_lawful, children, claim_now, count, job_facts
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

ROWS = b"".join(b"user%d@example.com,User\n" % number for number in range(100))
FILE = b"email,name\n" + ROWS


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "1000"}


def test_a_file_is_cut_into_chunks_with_a_job_each(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    ((job_id, kind),) = dispatch(engine)
    assert kind == "import.plan"
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    row = import_row(engine, import_id)
    assert (row["status"], row["total"], row["bytes_total"]) == ("running", 100, len(FILE))
    assert row["chunks_total"] == count(engine, "import_chunks") == len(children(engine, job_id))
    assert row["chunks_total"] >= 2
    assert set(children(engine, job_id)) == {"import.chunk"}
    assert row["started_at"] is not None


def test_planning_again_after_a_crash_doubles_nothing(
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


def test_a_file_with_a_header_alone_succeeds_at_once(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, b"email\n")
    ((job_id, _),) = dispatch(engine)
    worker.deliver(job_id)
    row = import_row(engine, import_id)
    assert (row["status"], row["total"], row["bytes_done"]) == ("succeeded", 0, 6)
    assert children(engine, job_id) == ["mail.import_finished"]


def test_an_unreadable_file_fails_the_import_and_says_so(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE + b"x" * 3_000_000)
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "line_too_long")
    assert row["finished_at"] is not None
    assert children(engine, job_id) == ["mail.import_finished"]
    assert count(engine, "import_chunks") == 0


def test_a_file_that_is_not_there_is_tried_again(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, FILE)
    storage.delete(import_row(engine, import_id)["object_key"])
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "scheduled"
    assert import_row(engine, import_id)["status"] == "queued"


def test_an_import_that_has_ended_is_not_planned(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    from sqlalchemy import text

    import_id = accepted_import(engine, storage, tenant.id, FILE)
    with engine.begin() as tx:
        tx.execute(text("UPDATE imports SET status = 'cancelled'"))
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "cancelled"
    assert import_row(engine, import_id)["chunks_total"] is None
