"""Brief jobs: claim, effects and end are one commit, and everything else is as for other jobs."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from app.ledger.contract import JobContract, JobSpec
from tests.support.brief import BriefNote, leave_effect
from tests.support.customers import Customer
from tests.support.jobs import (
    UrgentNote,
    add,
    add_queued,
    assert_lawful,
    children,
    count,
    events,
    job_facts,
)
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, PermanentError, Retry, Snooze


def with_effect(outcome: Outcome) -> Callable[[Context, JobContract], Outcome]:
    def handler(ctx: Context, _: JobContract) -> Outcome:
        leave_effect(ctx)
        return outcome

    return handler


def test_it_is_claimed_and_done_in_the_commit_of_its_effects(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(BriefNote, with_effect(Done(then=[UrgentNote()])))
    job_id = add_queued(engine, tenant.id, BriefNote())
    with engine.connect() as tx:
        before = tx.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    with engine.connect() as tx:
        after = tx.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
    assert after - before == 2, "one transaction of the job's, and the one that asks"
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", "succeed"]
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt, facts.error) == ("succeeded", 1, None)
    assert count(engine, "locks") == 1
    assert count(engine, "in_flight") == 0
    assert children(engine, job_id) == ["test.urgent"]
    assert_lawful(engine)


def test_a_second_message_finds_nothing_to_do(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(BriefNote, with_effect(Done()))
    job_id = add_queued(engine, tenant.id, BriefNote())
    for redelivered in (False, False, True):
        assert worker.deliver(job_id, redelivered=redelivered) is Disposition.ACKNOWLEDGE
    assert count(engine, "locks") == 1
    assert job_facts(engine, job_id).attempt == 1


def test_two_messages_at_once_have_one_effect(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """The second waits for the first at the job's row."""
    begun, go_on = threading.Event(), threading.Event()

    def handler(ctx: Context, job: JobContract) -> Outcome:
        begun.set()
        assert go_on.wait(20)
        return with_effect(Done())(ctx, job)

    worker.handle(BriefNote, handler)
    job_id = add_queued(engine, tenant.id, BriefNote())
    both = [threading.Thread(target=worker.deliver, args=(job_id,)) for _ in range(2)]
    both[0].start()
    assert begun.wait(20)
    both[1].start()
    wait_for(lambda: waiting(engine) == 1, what="the second delivery at the row")
    go_on.set()
    for thread in both:
        thread.join(20)
    assert count(engine, "locks") == 1
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", "succeed"]


def waiting(engine: Engine) -> int:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect() as tx:
        return int(tx.execute(query).scalar_one())


@pytest.mark.parametrize(
    ("bad", "event", "effects"),
    [
        (Retry("later"), "retry", 0),
        (Dead("never"), "die", 0),
        (Snooze(5), "snooze", 1),
        (Cancel("nothing to do"), "cancel", 1),
    ],
)
def test_another_outcome_is_settled_as_for_any_job(
    worker: Worker, engine: Engine, tenant: Customer, bad: Outcome, event: str, effects: int
) -> None:
    worker.handle(BriefNote, with_effect(bad))
    job_id = add_queued(engine, tenant.id, BriefNote())
    worker.deliver(job_id)
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", event]
    assert count(engine, "locks") == effects
    assert job_facts(engine, job_id).attempt == 1
    assert_lawful(engine)


def test_an_error_is_a_retry_and_leaves_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    runs: list[int] = []

    def handler(ctx: Context, job: JobContract) -> Outcome:
        runs.append(ctx.job.attempt)
        with_effect(Done())(ctx, job)
        raise ValueError("oops")

    worker.handle(BriefNote, handler)
    job_id = add_queued(engine, tenant.id, BriefNote())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert facts.error is not None
    assert (facts.state, facts.attempt, facts.error["message"]) == ("scheduled", 1, "oops")
    assert (runs, count(engine, "locks")) == ([1], 0)


def test_a_message_that_comes_back_is_counted_before_it_runs(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """It may have killed its worker: then its attempts must be used up some time."""
    states: list[str] = []

    def handler(ctx: Context, _: JobContract) -> Outcome:
        states.append(job_facts(engine, ctx.job.id).state)
        return Done()

    worker.handle(BriefNote, handler)
    for redelivered in (False, True):
        worker.deliver(add_queued(engine, tenant.id, BriefNote()), redelivered=redelivered)
    assert states == ["queued", "running"]


def test_a_cancelled_or_scheduled_job_is_not_run(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(BriefNote, with_effect(Done()))
    scheduled = add(engine, tenant.id, BriefNote())
    cancelled = add_queued(engine, tenant.id, BriefNote())
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET state = 'cancelled' WHERE id = :id"), {"id": cancelled})
    for job_id in (scheduled, cancelled):
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert count(engine, "locks") == 0


@pytest.mark.parametrize("redelivered", [False, True])
def test_what_needs_a_lease_is_refused(
    worker: Worker, engine: Engine, tenant: Customer, redelivered: bool
) -> None:
    def handler(ctx: Context, _: JobContract) -> Outcome:
        ctx.lock("x")
        return Done()

    worker.handle(BriefNote, handler)
    job_id = add_queued(engine, tenant.id, BriefNote())
    assert worker.deliver(job_id, redelivered=redelivered) is Disposition.DEAD_LETTER
    facts = job_facts(engine, job_id)
    assert facts.error is not None
    assert facts.error["code"] == "brief_job"


def test_a_permanent_error_is_a_death_with_its_letter(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(_: Context, __: JobContract) -> Outcome:
        raise PermanentError("no", code="never")

    worker.handle(BriefNote, handler)
    job_id = add_queued(engine, tenant.id, BriefNote())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", "die"]
    assert count(engine, "dead_letters") == 1


def test_a_brief_job_has_short_limits() -> None:
    with pytest.raises(ValueError, match="brief"):
        JobSpec(kind="test.long", soft_seconds=60, hard_seconds=90, brief=True)
