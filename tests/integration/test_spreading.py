"""A cancel reaches what was begun by what is cancelled, however many they are and whoever holds them."""

from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.errors import Conflict, NotFound
from app.ledger import spreading
from app.ledger.aftermath import Aftermath, Aftermaths
from app.ledger.batches import Batch, add_to_batch, enqueue_batch, open_batch
from app.ledger.cancel import cancel
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.replay import DeadFilter, replay
from app.ledger.spreading import cancel_batch
from app.ledger.state import Event
from tests.support.customers import Customer
from tests.support.flows import assert_honest, batch_of, members, run, run_all, state, tidy
from tests.support.housekeeping import TEST_CATALOG
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    assert_in_its_place,
    assert_lawful,
    claim_now,
    count,
    requeue,
    running,
)
from tests.support.runtime import Worker
from workers.runtime.context import Context
from workers.runtime.outcome import Done


def children(engine: Engine, tenant: Customer, parent: UUID, number: int) -> list[UUID]:
    with engine.begin() as tx:
        made = enqueue_many(
            tx, tenant.id, [NewJob(job=Note()) for _ in range(number)], parent_id=parent
        )
    return [one.id for one in made]


def stop(engine: Engine, tenant: Customer, job_id: UUID, aftermaths: Aftermaths) -> None:
    with engine.begin() as tx:
        cancel(tx, aftermaths, tenant.id, job_id, reason="enough")


def test_children_and_theirs_are_cancelled_those_that_ended_are_not(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "STEP", 2)
    parent = running(engine, tenant.id, Note())
    mine = children(engine, tenant, parent.id, 5)
    theirs = children(engine, tenant, mine[0], 3)
    with engine.begin() as tx:
        batch = enqueue_batch(
            tx, tenant.id, Batch(jobs=[Note(), Note()], window=1), parent_id=parent.id
        )
    run(engine, mine[1])
    requeue(engine, mine[2])
    stop(engine, tenant, parent.id, {})
    tidy(engine)
    assert [state(engine, job) for job in mine] == [
        "cancelled",
        "succeeded",
        "cancelled",
        "cancelled",
        "cancelled",
    ]
    assert {state(engine, job) for job in theirs} == {"cancelled"}
    assert batch_of(engine, batch).state == "cancelled"
    assert count(engine, "cancellations") == 0
    assert_honest(engine)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_what_the_cancel_itself_begins_is_spared(engine: Engine, tenant: Customer) -> None:
    """The mail about it, say."""
    aftermath = Aftermath(
        contract=Note,
        ended=lambda _tx, _job, _ending: [UrgentNote()],
        revived=lambda _tx, _job: (),
    )
    aftermaths = {Note.spec.kind: aftermath}
    parent = running(engine, tenant.id, Note())
    mine = children(engine, tenant, parent.id, 2)
    stop(engine, tenant, parent.id, aftermaths)
    tidy(engine, aftermaths)
    assert {state(engine, job) for job in mine} == {"cancelled"}
    with engine.connect() as tx:
        query = text("SELECT state, count(*) FROM jobs WHERE kind = 'test.urgent' GROUP BY 1")
        assert [tuple(row) for row in tx.execute(query)] == [("scheduled", 3)]


def test_one_that_somebody_holds_is_come_back_to(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = running(engine, tenant.id, Note())
    mine = children(engine, tenant, parent.id, 3)
    stop(engine, tenant, parent.id, {})
    with engine.connect() as holder:
        holder.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": mine[1]})
        with engine.begin() as tx:
            assert spreading.spread_next(tx, {}, behind=None)
        assert [state(engine, job) for job in mine] == ["cancelled", "scheduled", "cancelled"]
    tidy(engine)
    assert state(engine, mine[1]) == "cancelled"


def test_a_handler_that_runs_learns_of_it(engine: Engine, tenant: Customer, worker: Worker) -> None:
    """Its parent is cancelled while it runs: what it wrote is rolled back."""
    parent = running(engine, tenant.id, LazyNote())
    (job,) = children(engine, tenant, parent.id, 1)
    requeue(engine, job)
    begun = []

    def handler(ctx: Context, _: object) -> Done:
        begun.append(ctx.job.id)
        with ctx.transaction() as tx:
            tx.execute(text("UPDATE tenants SET timezone = 'Asia/Tokyo'"))
            stop(engine, tenant, parent.id, {})
            tidy(engine)
        return Done(then=[UrgentNote()])

    worker.handle(Note, handler)
    worker.deliver(job)
    assert begun == [job]
    assert state(engine, job) == "cancelled"
    assert count(engine, "jobs") == 2
    with engine.connect() as tx:
        zones = tx.execute(text("SELECT DISTINCT timezone FROM tenants")).scalars().all()
    assert "Asia/Tokyo" not in zones


@pytest.mark.parametrize("window", [None, 2])
def test_a_batch_is_cancelled_whole(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    monkeypatch.setattr(spreading, "STEP", 3)
    with engine.begin() as tx:
        batch = open_batch(
            tx,
            tenant.id,
            Batch(
                jobs=[Note() for _ in range(10)],
                window=window,
                on_success=UrgentNote(),
                on_failure=LazyNote(),
            ),
        )
    first, second, *_ = members(engine, batch)
    run(engine, first)
    requeue(engine, second)
    with engine.begin() as tx:
        claimed = claim_now(tx, second)
        assert claimed
    with engine.begin() as tx:
        cancel_batch(tx, tenant.id, batch, reason="enough")
        cancel_batch(tx, tenant.id, batch, reason="enough")
    with pytest.raises(Conflict), engine.begin() as tx:
        add_to_batch(tx, batch, [Note()])
    tidy(engine)
    facts = batch_of(engine, batch)
    assert (facts.state, facts.succeeded, facts.cancelled) == ("cancelled", 1, 9)
    assert run_all(engine) == 1  # what follows a failure
    with engine.begin() as tx:
        cancel_batch(tx, tenant.id, batch, reason="enough")
    assert_honest(engine)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_who_may_not_cancel_a_batch(engine: Engine, tenant: Customer, stranger: Customer) -> None:
    with engine.begin() as tx:
        batch = enqueue_batch(tx, tenant.id, Batch(jobs=[Note()]))
    with pytest.raises(NotFound), engine.begin() as tx:
        cancel_batch(tx, stranger.id, batch, reason="mine")
    run_all(engine)
    with pytest.raises(Conflict, match="succeeded"), engine.begin() as tx:
        cancel_batch(tx, tenant.id, batch, reason="too late")


def test_a_dead_job_of_a_cancelled_batch_can_still_be_replayed(
    engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx:
        batch = enqueue_batch(tx, tenant.id, Batch(jobs=[Note(), Note()], window=1))
    first, _ = members(engine, batch)
    run(engine, first, Event.DIE)
    with engine.begin() as tx:
        cancel_batch(tx, tenant.id, batch, reason="enough")
    tidy(engine)
    assert batch_of(engine, batch).state == "cancelled"
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[first]), reason="again")
    assert batch_of(engine, batch).state == "running"
    run(engine, first)
    assert batch_of(engine, batch).state == "cancelled"
    assert_honest(engine)
