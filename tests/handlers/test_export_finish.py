"""The end of an export in parts: one file or none, and no upload stays open, however it ends."""

from contextlib import nullcontext
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.aftermath import AFTERMATHS
from app.exports import joining, parts
from app.exports.lifecycle import cancel_export
from app.jobs import CATALOG
from app.ledger.cancel import cancel
from app.ledger.replay import DeadFilter, replay
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.exports import (
    add_many,
    export_row,
    handed_out,
    lines,
    made,
    order,
    parts_of,
    run_jobs,
)
from tests.support.flows import assert_honest, batch_of, tidy
from tests.support.imports import dispatch
from tests.support.jobs import job_facts
from tests.support.runtime import Killed, Worker
from workers.handlers import export_part
from workers.runtime.executor import Disposition
from workers.runtime.outcome import PermanentError

pytestmark = pytest.mark.usefixtures("in_tiny_parts")

ROWS = 3_000


@pytest.fixture
def export_id(worker: Worker, engine: Engine, tenant: Customer) -> UUID:
    """Handed out: its parts are due."""
    add_many(engine, tenant.id, ROWS, padding=64)
    return handed_out(worker, engine, tenant)


def assert_nothing_is_left(
    engine: Engine, storage: Storage, tenant: Customer, export_id: UUID
) -> None:
    assert storage.open_uploads() == []
    assert storage.keys(f"tenants/{tenant.id}/exports/") == []
    assert parts_of(engine, export_id) == []
    assert_honest(engine)


def test_a_cancel_reaches_the_parts_and_aborts_the_upload(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, export_id: UUID
) -> None:
    (first, _), (second, _), *_ = dispatch(engine)
    worker.deliver(first)
    assert len(storage.open_uploads()) == 1
    for _ in range(2):
        with engine.begin() as tx:
            cancel_export(tx, AFTERMATHS, tenant.id, export_id, reason="not needed")
    worker.deliver(second)
    tidy(engine, AFTERMATHS)
    row = export_row(engine, export_id)
    assert (row["status"], row["error"]["message"]) == ("cancelled", "not needed")
    assert job_facts(engine, second).state == "cancelled"
    assert batch_of(engine, row["batch_id"]).state == "cancelled"
    assert [kind for _, kind in run_jobs(worker, engine)] == ["export.finish"]
    assert_nothing_is_left(engine, storage, tenant, export_id)


def die(*_: object, **__: object) -> None:
    raise Killed


def test_a_cancel_of_what_hands_it_out_leaves_no_upload(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the upload's beginning and the commit that names its parts; whoever began it lives, or not."""
    add_many(engine, tenant.id, ROWS, padding=64)
    hand_out, reason = parts.hand_out, "not needed"

    def and_cancel(*args: Any, **named: Any) -> Any:
        with engine.begin() as tx:
            cancel(tx, AFTERMATHS, tenant.id, job_id, reason=reason)
        return hand_out(*args, **named)

    for killed in (False, True):
        ordered = order(engine, tenant.id)
        ((job_id, _),) = dispatch(engine)
        with monkeypatch.context() as patch:
            patch.setattr(parts, "hand_out", die if killed else and_cancel)
            if killed:
                patch.setattr(storage, "abort_multipart", lambda *_: None)
            with pytest.raises(Killed) if killed else nullcontext():
                worker.deliver(job_id)
        assert len(storage.open_uploads()) == killed
        if killed:
            with engine.begin() as tx:
                cancel(tx, AFTERMATHS, tenant.id, job_id, reason=reason)
        assert job_facts(engine, job_id).state == "cancelled"
        assert [kind for _, kind in run_jobs(worker, engine)] == ["export.finish"]
        assert export_row(engine, ordered)["status"] == "cancelled"
        assert_nothing_is_left(engine, storage, tenant, ordered)


def test_a_part_that_fails_fails_the_export_and_a_replay_begins_anew(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    export_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [job_id for job_id, _ in dispatch(engine)]
    worker.deliver(jobs[0])

    def fail(*_: Any, **__: Any) -> Any:
        raise PermanentError("The disk of the store is full.", code="store_full")

    with monkeypatch.context() as patch:
        patch.setattr(export_part, "make_part", fail)
        assert worker.deliver(jobs[1]) is Disposition.DEAD_LETTER
    row = export_row(engine, export_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "store_full")
    for job_id in jobs[2:]:
        worker.deliver(job_id)
        assert job_facts(engine, job_id).state == "cancelled"
    run_jobs(worker, engine)
    assert batch_of(engine, row["batch_id"]).state == "failed"
    assert_nothing_is_left(engine, storage, tenant, export_id)
    with engine.begin() as tx:
        replay(tx, CATALOG, AFTERMATHS, DeadFilter(job_ids=[jobs[1]]), reason="mended")
    assert export_row(engine, export_id)["status"] == "queued"
    run_jobs(worker, engine)
    assert len(lines(made(engine, storage, export_id))) == ROWS + 1
    assert export_row(engine, export_id)["batch_id"] != row["batch_id"]
    assert storage.open_uploads() == []
    assert_honest(engine)


def test_a_finish_that_was_killed_behind_the_completion_finds_its_object(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    export_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joining, "forget_parts", die)
    with pytest.raises(Killed):
        run_jobs(worker, engine)
    monkeypatch.undo()
    assert export_row(engine, export_id)["status"] == "running"
    with engine.connect() as tx:
        finish = tx.execute(text("SELECT id FROM jobs WHERE kind = 'export.finish'")).scalar_one()
    assert worker.deliver(finish, redelivered=True) is Disposition.ACKNOWLEDGE
    assert len(lines(made(engine, storage, export_id))) == ROWS + 1
    assert len(storage.keys(f"tenants/{tenant.id}/exports/")) == 1


def test_parts_that_the_store_has_otherwise_are_no_file(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, export_id: UUID
) -> None:
    """As when an attempt that had lost its job put a part once more: the export is made by one job then."""
    while jobs := dispatch(engine):
        if jobs[0][1] == "export.finish":
            break
        for job_id, _ in jobs:
            worker.deliver(job_id)
    with engine.begin() as tx:
        tx.execute(text("UPDATE export_parts SET etag = '\"0\"' WHERE number = 2"))
    worker.deliver(jobs[0][0])
    assert storage.open_uploads() == []
    assert [kind for _, kind in run_jobs(worker, engine)] == ["export.table"]
    assert len(lines(made(engine, storage, export_id))) == ROWS + 1
    assert export_row(engine, export_id)["parts"] is None
