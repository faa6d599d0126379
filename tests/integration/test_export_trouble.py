"""Exports that are killed, cancelled, or can't reach the store: begun again, and nothing left behind."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.exports import copying, object_writer
from app.exports.rows import take_snapshot
from app.ledger.cancel import cancel
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.exports import add_many, export_row, lines, made, order, published
from tests.support.jobs import job_facts, lose_worker
from tests.support.runtime import Killed, Worker
from tests.support.servers import wait_for
from workers.runtime.executor import Disposition


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, parts of the least size that stores take."""
    monkeypatch.setattr(object_writer, "PART_BYTES", 5 * 1024 * 1024)
    monkeypatch.setattr(copying, "BLOCK_BYTES", 256 * 1024)


def test_an_attempt_that_is_killed_leaves_nothing(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its multipart upload is aborted by the next attempt, which begins again."""
    add_many(engine, tenant.id, 20_000, padding=640)
    export_id = order(engine, tenant.id)
    job_id = published(engine)
    with monkeypatch.context() as patch:
        patch.setattr(object_writer.ObjectWriter, "abort", lambda _: None)
        patch.setattr(object_writer.ObjectWriter, "finish", _die)
        with pytest.raises(Killed):
            worker.deliver(job_id)
    assert len(storage.open_uploads()) == 1
    assert export_row(engine, export_id)["status"] == "running"
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert len(lines(made(engine, storage, export_id))) == 20_001
    assert storage.open_uploads() == []
    assert len(storage.keys(f"tenants/{tenant.id}/exports/")) == 1


def _die(_: object) -> None:
    raise Killed


def test_a_redelivery_after_the_end_changes_nothing(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    export_id = order(engine, tenant.id)
    job_id = published(engine)
    worker.deliver(job_id)
    before = export_row(engine, export_id)
    lose_worker(engine, job_id)
    worker.deliver(job_id, redelivered=True)
    assert export_row(engine, export_id) == before
    assert len(storage.keys(f"tenants/{tenant.id}/exports/")) == 1


def test_a_cancelled_export_stops_and_leaves_nothing(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.exports import making
    from workers.runtime import context

    monkeypatch.setattr(making, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(context, "CHECK_SECONDS", 0.0)
    add_many(engine, tenant.id, 20_000, padding=640)
    export_id = order(engine, tenant.id)
    job_id = published(engine)
    put_part = storage.put_part

    def and_cancel(*args: Any) -> Any:
        with engine.begin() as tx:
            cancel(tx, worker.aftermaths, tenant.id, job_id, reason="not needed")
        return put_part(*args)

    monkeypatch.setattr(storage, "put_part", and_cancel)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    row = export_row(engine, export_id)
    assert (row["status"], row["error"]["code"]) == ("cancelled", "cancelled")
    assert row["rows_done"] < 20_000
    assert (storage.open_uploads(), storage.keys(f"tenants/{tenant.id}/exports/")) == ([], [])


def test_a_store_that_fails_is_tried_again_and_leaves_nothing(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_many(engine, tenant.id, 20_000, padding=640)
    export_id = order(engine, tenant.id)
    job_id = published(engine)

    def fail(*_: Any) -> Any:
        raise OSError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_part", fail)
        worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    assert export_row(engine, export_id)["status"] == "running"
    assert storage.open_uploads() == []


def test_a_copy_waits_for_who_takes_it_and_ends_on_the_server_when_given_up(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is read than a few blocks ahead; and its connection is gone with whoever took them."""
    monkeypatch.setattr(copying, "BLOCK_BYTES", 64 * 1024)
    with engine.connect() as tx:
        take_snapshot(tx)
        blocks = copying.copy_blocks(tx, "SELECT repeat('x', 1000) FROM generate_series(1, 200000)")
        assert len(next(blocks)) >= 64 * 1024
        wait_for(lambda: _copies(engine) == ["ClientWrite"], what="a server that waits")
        blocks.close()
        wait_for(lambda: _copies(engine) == [], what="the end of the COPY")


def _copies(engine: Engine) -> list[str | None]:
    """What each of them waits for."""
    query = "SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT repeat%'"
    with engine.connect() as tx:
        return list(tx.execute(text(query)).scalars())
