"""A job that no attempt began in time is dead and says so; one that began in time is left alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from app.housekeeping.timekeeper import Timekeeper
from app.ledger import store
from app.ledger.aftermath import Aftermath, Ending
from app.ledger.contract import JobContract
from app.ledger.deadlines import expire_next
from app.ledger.enqueue import enqueue
from app.ledger.outbox import mark_queued, take_due
from app.ledger.replay import DeadFilter, replay
from app.ledger.state import Event, State
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.dispatching import dispatching
from tests.support.housekeeping import TEST_CATALOG, in_thread, waits_for_lock
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    assert_in_its_place,
    assert_lawful,
    backdate,
    children,
    claim_now,
    count,
    events,
    job_facts,
    letters,
    requeue,
)
from tests.support.queues import Queues
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done, Retry

HOUR = 3600.0


def timed(engine: Engine, tenant: Customer, job: JobContract, *, queued: bool = False) -> UUID:
    """A job that is to begin within the hour."""
    with engine.begin() as tx:
        deadline = datetime.now(tz=UTC) + timedelta(seconds=HOUR)
        job_id = enqueue(tx, tenant.id, job, deadline=deadline).id
    if queued:
        requeue(engine, job_id)
    return job_id


def pass_by(engine: Engine, job_id: UUID) -> None:
    """The hour is over."""
    backdate(engine, job_id, seconds=HOUR + 60)


def sweep(engine: Engine, *, aftermaths: dict[str, Aftermath] | None = None) -> int:
    """How many deadlines were looked at."""
    looked = 0
    while looked < 100:
        with engine.begin() as tx:
            if not expire_next(tx, aftermaths or {}):
                return looked
        looked += 1
    raise AssertionError("it goes on for ever")


def assert_expired(engine: Engine, job_id: UUID) -> None:
    facts = job_facts(engine, job_id)
    assert facts.error is not None
    assert (facts.state, facts.error["code"]) == ("dead", "deadline_passed")
    assert [letter.code for letter in letters(engine, job_id)] == ["deadline_passed"]
    assert events(engine, job_id)[-1] == "expire"
    assert_in_its_place(engine)


def test_a_job_that_still_waits_expires_whether_published_or_not(
    engine: Engine, tenant: Customer
) -> None:
    jobs = [timed(engine, tenant, Note(), queued=queued) for queued in (False, True)]
    assert sweep(engine) == 0
    for job_id in jobs:
        pass_by(engine, job_id)
    assert sweep(engine) == 2
    for job_id in jobs:
        assert_expired(engine, job_id)
    assert letters(engine, jobs[0])[0].deaths == 2
    assert count(engine, "deadlines") == 0
    assert assert_lawful(engine) == 2


def test_no_attempt_begins_after_the_deadline_even_when_nobody_looked(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done(then=[LazyNote()]))
    job_id = timed(engine, tenant, Note(), queued=True)
    pass_by(engine, job_id)
    for redelivered in (False, True):
        assert worker.deliver(job_id, redelivered=redelivered) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).attempt == 0
    assert children(engine, job_id) == []
    sweep(engine)
    assert_expired(engine, job_id)


def test_a_job_that_began_in_time_runs_on(worker: Worker, engine: Engine, tenant: Customer) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        pass_by(engine, ctx.job.id)
        assert sweep(engine) == 1
        assert job_facts(engine, ctx.job.id).state == "running"
        return Done()

    worker.handle(Note, handler)
    job_id = timed(engine, tenant, Note(), queued=True)
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "succeeded"
    pass_by(engine, job_id)
    assert sweep(engine) == 1
    assert count(engine, "deadlines") == 0
    assert letters(engine, job_id) == []


def test_a_running_job_may_be_taken_over_after_its_deadline(
    engine: Engine, tenant: Customer
) -> None:
    job_id = timed(engine, tenant, Note(), queued=True)
    with engine.begin() as tx:
        assert claim_now(tx, job_id) is not None
    pass_by(engine, job_id)
    with engine.begin() as tx:
        assert claim_now(tx, job_id, redelivered=True) is not None


def test_a_retry_that_would_begin_too_late_expires(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Retry:
        pass_by(engine, ctx.job.id)
        sweep(engine)
        return Retry("not yet", after_seconds=600)

    worker.handle(Note, handler)
    job_id = timed(engine, tenant, Note(), queued=True)
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    pass_by(engine, job_id)
    sweep(engine)
    assert_expired(engine, job_id)
    (letter,) = letters(engine, job_id)
    assert letter.attempt == 1
    assert letter.first_failed_at < letter.last_failed_at


def test_what_follows_from_the_death_is_in_its_commit(engine: Engine, tenant: Customer) -> None:
    told: list[Ending] = []

    def ended(_tx: Connection, _job: JobContract, ending: Ending) -> Sequence[JobContract]:
        told.append(ending)
        return [UrgentNote()]

    aftermath = Aftermath(contract=Note, ended=ended, revived=lambda _tx, _job: ())
    job_id = timed(engine, tenant, Note())
    pass_by(engine, job_id)
    sweep(engine, aftermaths={"test.note": aftermath})
    assert [(one.state, one.error["code"]) for one in told] == [(State.DEAD, "deadline_passed")]
    assert children(engine, job_id) == ["test.urgent"]


def test_a_replayed_job_has_no_deadline_any_more(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Dead("no"))
    job_id = timed(engine, tenant, Note(), queued=True)
    worker.deliver(job_id)
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[job_id]), reason="again")
        # Left behind by whoever was quicker than the replay.
        tx.execute(
            text("""
                INSERT INTO deadlines (job_id, deadline) VALUES (:id, now() - interval '1 minute')
                ON CONFLICT (job_id) DO UPDATE SET deadline = excluded.deadline
            """),
            {"id": job_id},
        )
    assert sweep(engine) == 1
    assert job_facts(engine, job_id).state == "scheduled"
    assert count(engine, "deadlines") == 0


def test_a_job_that_expires_while_it_is_being_published_leaves_nothing_behind(
    engine: Engine, tenant: Customer
) -> None:
    """Whoever waits for a row sees it as it is then, but not the rows that came with it."""
    job_id = timed(engine, tenant, Note())
    pass_by(engine, job_id)
    with engine.connect() as dispatcher:
        assert len(take_due(dispatcher, batch=10)) == 1
        mark_queued(dispatcher, [job_id])
        with in_thread(Thread(target=lambda: sweep(engine))):
            wait_for(lambda: waits_for_lock(engine), what="the wait for the dispatcher")
            dispatcher.commit()
    assert_expired(engine, job_id)
    assert count(engine, "in_flight") == 0


def test_a_job_that_expires_while_it_is_being_claimed_runs(
    engine: Engine, tenant: Customer
) -> None:
    job_id = timed(engine, tenant, Note(), queued=True)
    with engine.connect() as worker:
        job = claim_now(worker, job_id)
        assert job is not None
        with engine.begin() as tx:
            tx.execute(text("UPDATE deadlines SET deadline = now() - interval '1 minute'"))
        with in_thread(Thread(target=lambda: sweep(engine))):
            wait_for(lambda: waits_for_lock(engine), what="the wait for the claim")
            worker.commit()
    assert job_facts(engine, job_id).state == "running"
    assert letters(engine, job_id) == []
    with engine.begin() as tx:
        store.settle(tx, job, Event.SUCCEED)


def test_timekeepers_share_the_work_and_do_not_deadlock(engine: Engine, tenant: Customer) -> None:
    kinds = [Note(), LazyNote(), UrgentNote()]
    jobs = [timed(engine, tenant, kinds[number % 3]) for number in range(45)]
    for job_id in jobs:
        pass_by(engine, job_id)
    threads = [Thread(target=Timekeeper(engine, {}).step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    sweep(engine)
    for job_id in jobs:
        assert len(letters(engine, job_id)) == 1
    assert {letters(engine, job_id)[0].deaths for job_id in jobs} == {15}
    assert assert_lawful(engine) == 45


def test_the_dispatcher_expires_jobs_by_itself(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    job_id = timed(engine, tenant, Note())
    with dispatching(settings, engine):
        wait_for(lambda: job_facts(engine, job_id).state == "queued", what="publishing")
        pass_by(engine, job_id)
        wait_for(lambda: job_facts(engine, job_id).state == "dead", what="the end")
    assert_expired(engine, job_id)
