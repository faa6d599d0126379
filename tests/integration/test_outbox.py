"""Due jobs leave the outbox in order, and two dispatchers never meet."""

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from app.ledger.outbox import Round, mark_queued, postpone, take_due
from tests.support.customers import Customer
from tests.support.jobs import LazyNote, Note, UrgentNote, add, assert_lawful, events, job_facts


def test_urgent_before_default_before_low_and_the_longest_due_first(
    engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx:
        made = enqueue_many(
            tx,
            tenant.id,
            [
                NewJob(job=LazyNote()),
                NewJob(job=Note(text="second")),
                NewJob(job=Note(), run_at=datetime.now(tz=UTC) - timedelta(hours=1)),
                NewJob(job=UrgentNote()),
            ],
        )
    lazy, second, first, urgent = [one.id for one in made]
    with engine.begin() as tx:
        assert [due.id for due in take_due(tx, batch=10)] == [urgent, first, second, lazy]
    with engine.begin() as tx:
        assert [due.id for due in take_due(tx, batch=2)] == [urgent, first]


def test_two_dispatchers_get_different_jobs(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        enqueue_many(tx, tenant.id, [NewJob(job=Note()) for _ in range(20)])
    with engine.begin() as one, engine.begin() as two, engine.begin() as three:
        first = {due.id for due in take_due(one, batch=12)}
        second = {due.id for due in take_due(two, batch=12)}
        assert (len(first), len(second)) == (12, 8)
        assert not first & second
        assert take_due(three, batch=12) == []


def test_what_a_dispatcher_took_and_did_not_commit_is_due_again(
    engine: Engine, tenant: Customer
) -> None:
    job_id = add(engine, tenant.id, Note())
    with engine.connect() as tx:
        take_due(tx, batch=1)
        mark_queued(tx, [job_id])
        tx.rollback()
    with engine.begin() as tx:
        assert [due.id for due in take_due(tx, batch=1)] == [job_id]
    assert events(engine, job_id) == ["enqueue"]


def test_a_published_job_is_queued_and_out_of_the_outbox(engine: Engine, tenant: Customer) -> None:
    job_id = add(engine, tenant.id, Note())
    with engine.begin() as tx:
        (due,) = take_due(tx, batch=1)
        mark_queued(tx, [due.id])
    assert (due.kind, due.version, due.attempt, due.queue) == ("test.note", 1, 0, "default")
    assert job_facts(engine, job_id).state == "queued"
    assert not job_facts(engine, job_id).outbox
    assert assert_lawful(engine) == 1


def test_a_job_that_was_cancelled_meanwhile_is_not_published(
    engine: Engine, tenant: Customer
) -> None:
    job_id = add(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET state = 'cancelled' WHERE id = :id"), {"id": job_id})
    with engine.begin() as tx:
        assert take_due(tx, batch=1) == []
        mark_queued(tx, [job_id])
    assert job_facts(engine, job_id).state == "cancelled"


def seconds_to_next(this: Round) -> float | None:
    return None if this.due_at is None else this.due_at - time.monotonic()


def test_what_the_broker_refused_is_looked_at_again_later(engine: Engine, tenant: Customer) -> None:
    this, job_id = Round(), add(engine, tenant.id, Note())
    with engine.begin() as tx:
        take_due(tx, batch=1)
        postpone(tx, [job_id], seconds=30)
    with engine.begin() as tx:
        assert take_due(tx, batch=1, this=this) == []
    wait = seconds_to_next(this)
    assert wait is not None
    assert 0 < wait <= 30
    assert job_facts(engine, job_id).state == "scheduled"


def test_the_next_due_job_is_known_to_the_moment(engine: Engine, tenant: Customer) -> None:
    this, now = Round(), datetime.now(tz=UTC)
    with engine.begin() as tx:
        take_due(tx, batch=1, this=this)
        assert seconds_to_next(this) is None
        enqueue(tx, tenant.id, LazyNote(), run_at=now + timedelta(seconds=90))
        enqueue(tx, tenant.id, UrgentNote(), run_at=now + timedelta(seconds=200))
        take_due(tx, batch=1, this=this)
    wait = seconds_to_next(this)
    assert wait is not None
    assert 60 < wait <= 90
