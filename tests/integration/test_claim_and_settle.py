"""One owner at a time: who may take a job, and that whoever lost it changes nothing any more."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from app.errors import LostLease
from app.ids import new_id
from app.ledger import store
from app.ledger.outbox import mark_queued, take_due
from app.ledger.state import Event
from app.ledger.store import Claimed
from tests.support.customers import Customer
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_lawful,
    claim_now,
    events,
    job_facts,
    last_cause,
    requeue,
    running,
)
from tests.support.servers import wait_for


def take(engine: Engine, job: Claimed, *, redelivered: bool = False) -> Claimed | None:
    with engine.begin() as tx:
        return claim_now(tx, job.id, redelivered=redelivered)


def end_lease(engine: Engine, job: Claimed) -> None:
    with engine.begin() as tx:
        assert store.heartbeat(tx, job, lease_seconds=-1)


def test_a_queued_job_is_claimed_once(engine: Engine, tenant: Customer) -> None:
    job_id = add_queued(engine, tenant.id, Note(text="hi"))
    with engine.begin() as tx:
        job = claim_now(tx, job_id)
    assert job is not None
    assert (job.attempt, job.taken_over, job.payload) == (1, False, {"text": "hi"})
    assert (job.kind, job.version, job.queue, job.tenant_id) == (
        "test.note",
        1,
        "default",
        tenant.id,
    )
    assert take(engine, job) is None
    facts = job_facts(engine, job_id)
    assert facts.state == "running"
    assert facts.lease_seconds == pytest.approx(60, abs=15)
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim"]


def test_of_many_claims_at_once_one_wins(engine: Engine, tenant: Customer) -> None:
    job_id = add_queued(engine, tenant.id, Note())
    together = threading.Barrier(8)
    won: list[Claimed | None] = []

    def claim() -> None:
        with engine.begin() as tx:
            together.wait(10)
            won.append(claim_now(tx, job_id))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [job is not None for job in won].count(True) == 1
    assert job_facts(engine, job_id).attempt == 1


@pytest.mark.parametrize("redelivered", [False, True])
def test_nothing_is_claimed_that_is_unknown_scheduled_or_finished(
    engine: Engine, tenant: Customer, redelivered: bool
) -> None:
    scheduled = add(engine, tenant.id, Note())
    finished = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, finished, Event.SUCCEED)
    with engine.begin() as tx:
        for job_id in (new_id(), finished.id):
            assert claim_now(tx, job_id, redelivered=redelivered) is None
        # `running` has published both; the other one is scheduled still.
        assert job_facts(engine, scheduled).state == "scheduled"
        assert claim_now(tx, scheduled, redelivered=redelivered) is None


def test_a_claim_waits_for_the_dispatchers_commit(engine: Engine, tenant: Customer) -> None:
    """The broker delivers before the dispatcher has committed; giving up would lose the message."""
    job_id = add(engine, tenant.id, Note())
    claimed: list[Claimed | None] = []

    def claim() -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
            claimed.append(claim_now(tx, job_id))

    with engine.begin() as dispatching:
        assert [due.id for due in take_due(dispatching, batch=10)] == [job_id]
        mark_queued(dispatching, [job_id])
        worker = threading.Thread(target=claim)
        worker.start()
        wait_for(lambda: _waits_for_lock(engine), what="the claim's wait for the dispatcher")
        assert claimed == []
    worker.join(20)
    assert [job.attempt for job in claimed if job] == [1]
    assert assert_lawful(engine) == 1


def _waits_for_lock(engine: Engine) -> bool:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect() as tx:
        return bool(tx.execute(query).scalar_one())


def test_a_running_job_is_taken_over_when_its_message_comes_again(
    engine: Engine, tenant: Customer
) -> None:
    first = running(engine, tenant.id, Note())
    assert take(engine, first) is None
    second = take(engine, first, redelivered=True)
    assert second is not None
    assert (second.attempt, second.taken_over) == (2, True)
    assert events(engine, first.id)[-1] == "take_over"
    assert last_cause(engine, first.id, "claim") is None
    assert last_cause(engine, first.id, "take_over") == "redelivered"
    assert assert_lawful(engine) == 1


def test_a_running_job_is_taken_over_when_its_lease_has_run_out(
    engine: Engine, tenant: Customer
) -> None:
    first = running(engine, tenant.id, Note())
    end_lease(engine, first)
    second = take(engine, first)
    assert second is not None
    assert second.attempt == 2
    assert last_cause(engine, first.id, "take_over") == "lease_expired"


@pytest.mark.parametrize(
    "event", [Event.SUCCEED, Event.RETRY, Event.SNOOZE, Event.DIE, Event.CANCEL]
)
def test_an_attempt_that_lost_its_job_settles_nothing(
    engine: Engine, tenant: Customer, event: Event
) -> None:
    first = running(engine, tenant.id, Note())
    assert take(engine, first, redelivered=True) is not None
    before = (job_facts(engine, first.id).state, events(engine, first.id))
    with pytest.raises(LostLease), engine.begin() as tx:
        store.settle(tx, first, event)
    assert (job_facts(engine, first.id).state, events(engine, first.id)) == before
    assert not job_facts(engine, first.id).outbox


def test_an_attempt_that_lost_its_job_extends_no_lease_and_reports_no_progress(
    engine: Engine, tenant: Customer
) -> None:
    first = running(engine, tenant.id, Note())
    second = take(engine, first, redelivered=True)
    assert second is not None
    with engine.begin() as tx:
        assert not store.heartbeat(tx, first, lease_seconds=3600)
    with pytest.raises(LostLease), engine.begin() as tx:
        store.progress(tx, first, done=1)
    facts = job_facts(engine, first.id)
    assert facts.progress_done is None
    assert facts.lease_seconds is not None
    assert facts.lease_seconds < 100
    with engine.begin() as tx:
        assert store.heartbeat(tx, second, lease_seconds=3600)
        store.progress(tx, second, done=5, total=9)
    facts = job_facts(engine, first.id)
    assert facts.progress_done == 5
    assert facts.lease_seconds == pytest.approx(3600, abs=30)


@pytest.mark.parametrize(
    "act",
    [
        lambda tx, job: store.settle(tx, job, Event.SUCCEED),
        lambda tx, job: store.progress(tx, job, done=1),
    ],
)
def test_a_job_that_ended_cannot_end_again(
    engine: Engine, tenant: Customer, act: Callable[[Connection, Claimed], None]
) -> None:
    job = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, job, Event.CANCEL, error={"code": "test", "message": "no more"})
    with pytest.raises(LostLease), engine.begin() as tx:
        act(tx, job)
    assert job_facts(engine, job.id).state == "cancelled"


def test_a_retry_is_an_outbox_row_in_the_future(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, job, Event.RETRY, delay_seconds=120, error={"code": "x", "message": "y"})
    facts = job_facts(engine, job.id)
    assert (facts.state, facts.attempt, facts.max_attempts) == ("scheduled", 1, 3)
    assert facts.outbox
    assert facts.wait_seconds == pytest.approx(120, abs=15)
    assert facts.error == {"code": "x", "message": "y"}
    with engine.begin() as tx:
        assert take_due(tx, batch=10) == []


def test_a_snooze_costs_no_attempt(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    for _ in range(10):
        with engine.begin() as tx:
            store.settle(tx, job, Event.SNOOZE, delay_seconds=60, extra_attempts=1)
        facts = job_facts(engine, job.id)
        assert facts.max_attempts - facts.attempt == 2 + 1
        requeue(engine, job.id)
        again = take(engine, job)
        assert again is not None
        job = again
    assert job.attempt == 11
    assert assert_lawful(engine) == 1


def test_effects_and_the_jobs_end_are_one_commit(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    with engine.connect() as tx:
        store.settle(tx, job, Event.SUCCEED)
        tx.rollback()
    assert job_facts(engine, job.id).state == "running"
    assert events(engine, job.id) == ["enqueue", "dispatch", "claim"]
