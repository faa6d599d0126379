"""One delivery from claim to acknowledgement: every answer that a handler can give, and what comes of it."""

import threading
from asyncio import CancelledError
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Engine, text

from app.errors import LostLease
from app.keys import create_tenant
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    add_queued,
    assert_lawful,
    children,
    claim_now,
    events,
    job_facts,
    requeue,
)
from tests.support.runtime import SoftTimeout, Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Cancel, Dead, Done, PermanentError, Retry, Snooze

EFFECT = "effect"


def leave_effect(ctx: Context) -> None:
    """Something in our database, in the job's transaction."""
    with ctx.transaction() as tx:
        create_tenant(tx, name=EFFECT, email="effect@example.com")


def has_effect(engine: Engine) -> bool:
    with engine.connect() as tx:
        query = text("SELECT count(*) FROM tenants WHERE name = :name")
        return bool(tx.execute(query, {"name": EFFECT}).scalar_one())


def test_done_commits_the_effects_the_end_and_what_follows(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, job: JobContract) -> Done:
        assert job == Note(text="hi")
        assert ctx.tenant_id == tenant.id
        leave_effect(ctx)
        with ctx.transaction() as tx:
            ctx.progress(tx, done=2, total=2)
        return Done(then=[UrgentNote(), LazyNote()])

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note(text="hi"))
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert job_facts(engine, job_id).progress_done == 2
    assert children(engine, job_id) == ["test.urgent", "test.lazy"]
    assert has_effect(engine)
    assert assert_lawful(engine) == 3


def test_a_duplicate_of_a_finished_job_is_acknowledged_and_does_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    runs: list[int] = []

    def handler(ctx: Context, _: JobContract) -> Done:
        runs.append(ctx.job.attempt)
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    for redelivered in (False, False, True):
        assert worker.deliver(job_id, redelivered=redelivered) is Disposition.ACKNOWLEDGE
    assert runs == [1]


def test_retry_waits_for_its_time_and_keeps_the_reason(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Retry:
        leave_effect(ctx)
        return Retry("the other side is busy", after_seconds=300)

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert facts.state == "scheduled"
    assert facts.outbox
    assert facts.wait_seconds == pytest.approx(300, abs=30)
    assert facts.error is not None
    assert facts.error["message"] == "the other side is busy"
    assert not has_effect(engine)


def test_a_job_dies_with_its_last_attempt(worker: Worker, engine: Engine, tenant: Customer) -> None:
    worker.handle(Note, lambda _ctx, _job: Retry("not yet"))
    job_id = add_queued(engine, tenant.id, Note())
    answers = [worker.deliver(job_id)]
    for _ in range(2):
        requeue(engine, job_id)
        answers.append(worker.deliver(job_id))
    assert answers == [
        Disposition.ACKNOWLEDGE,
        Disposition.ACKNOWLEDGE,
        Disposition.DEAD_LETTER,
    ]
    assert (job_facts(engine, job_id).state, job_facts(engine, job_id).attempt) == ("dead", 3)
    assert events(engine, job_id)[-1] == "die"
    assert assert_lawful(engine) == 1


def test_snooze_comes_back_later_at_no_cost(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Snooze(60))
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt, facts.max_attempts) == ("scheduled", 1, 4)
    assert facts.wait_seconds == pytest.approx(60, abs=15)
    assert facts.outbox


def test_cancel_ends_the_job_with_its_reason(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Cancel("nobody wants it any more"))
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert facts.state == "cancelled"
    assert facts.error == {"code": "cancelled_by_handler", "message": "nobody wants it any more"}


def test_dead_goes_to_the_dead_letters_at_once(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Dead:
        leave_effect(ctx)
        return Dead("no such customer", "gone")

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt) == ("dead", 1)
    assert facts.error == {"code": "gone", "type": "Dead", "message": "no such customer"}
    assert not has_effect(engine)


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (RuntimeError("boom"), "scheduled", "exception"),
        (CancelledError(), "scheduled", "exception"),
        (SoftTimeout(), "scheduled", "soft_time_limit"),
        (PermanentError("never", code="never_ever"), "dead", "never_ever"),
    ],
)
def test_an_exception_rolls_back_and_is_explained(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    error: BaseException,
    state: str,
    code: str,
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        leave_effect(ctx)
        raise error

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    facts = job_facts(engine, job_id)
    assert facts.state == state
    assert facts.error is not None
    assert facts.error["code"] == code
    assert facts.error["type"] == type(error).__name__
    assert "leave_effect" in facts.error["traceback"] or "handler" in facts.error["traceback"]
    assert not has_effect(engine)


@pytest.mark.parametrize("answer", [None, True, "done", Done, 0])
def test_an_answer_that_is_no_outcome_is_a_bug_and_not_a_success(
    worker: Worker, engine: Engine, tenant: Customer, answer: object
) -> None:
    def handler(ctx: Context, _: JobContract) -> object:
        leave_effect(ctx)
        return answer

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    facts = job_facts(engine, job_id)
    assert facts.state == "dead"
    assert facts.error is not None
    assert facts.error["code"] == "bad_outcome"
    assert not has_effect(engine)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("version = 2", "wrong_version"),
        ("payload = '{\"text\": 5}'", "invalid_payload"),
        ('payload = \'{"text": "a", "more": 1}\'', "invalid_payload"),
        ("kind = 'test.unheard_of'", "unknown_kind"),
    ],
)
def test_a_job_that_this_worker_cannot_read_is_dead_with_the_reason(
    worker: Worker, engine: Engine, tenant: Customer, change: str, code: str
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done())
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(text(f"UPDATE jobs SET {change} WHERE id = :id"), {"id": job_id})  # noqa: S608
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    facts = job_facts(engine, job_id)
    assert facts.state == "dead"
    assert facts.error is not None
    assert facts.error["code"] == code


def test_an_attempt_that_loses_its_job_in_the_middle_leaves_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        leave_effect(ctx)
        with engine.begin() as other:
            assert claim_now(other, ctx.job.id, redelivered=True) is not None
        return Done(then=[UrgentNote()])

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt) == ("running", 2)
    assert children(engine, job_id) == []
    assert not has_effect(engine)


@pytest.mark.parametrize("ending", [Retry("again"), RuntimeError("boom"), Dead("never")])
def test_an_attempt_that_lost_its_job_cannot_fail_it_either(
    worker: Worker, engine: Engine, tenant: Customer, ending: object
) -> None:
    def handler(ctx: Context, _: JobContract) -> object:
        with engine.begin() as other:
            assert claim_now(other, ctx.job.id, redelivered=True) is not None
        if isinstance(ending, Exception):
            raise ending
        return ending

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt, facts.error) == ("running", 2, None)


def test_what_is_to_happen_at_a_jobs_death_happens_in_its_commit(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    told: list[tuple[JobContract, str]] = []

    def ended(tx: Connection, job: JobContract, ending: Ending) -> Sequence[JobContract]:
        told.append((job, ending.error["code"]))
        create_tenant(tx, name=EFFECT, email="effect@example.com")
        return [UrgentNote()]

    worker.handle(Note, lambda _ctx, _job: Dead("no"), ended=ended)
    job_id = add_queued(engine, tenant.id, Note(text="hi"))
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    assert told == [(Note(text="hi"), "rejected_by_handler")]
    assert has_effect(engine)
    assert children(engine, job_id) == ["test.urgent"]


def test_a_job_that_lost_its_worker_in_every_attempt_is_dead(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done())
    job_id = add_queued(engine, tenant.id, Note())
    for attempt in range(3):
        with engine.begin() as tx:
            assert claim_now(tx, job_id, redelivered=attempt > 0) is not None
    assert worker.deliver(job_id, redelivered=True) is Disposition.DEAD_LETTER
    facts = job_facts(engine, job_id)
    assert facts.error is not None
    assert (facts.state, facts.error["code"]) == ("dead", "worker_lost")


class TestHeartbeat:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_LEASE_SECONDS": "0.6"}

    def test_a_long_job_keeps_its_lease(
        self, worker: Worker, engine: Engine, tenant: Customer, settings: Settings
    ) -> None:
        beats: list[float] = []

        def handler(ctx: Context, _: JobContract) -> Done:
            def extended() -> bool:
                with engine.connect() as tx:
                    query = text("SELECT extract(epoch FROM lease_until) FROM jobs WHERE id = :id")
                    beats.append(float(tx.execute(query, {"id": ctx.job.id}).scalar_one()))
                return len(set(beats)) >= 4

            wait_for(extended, what="three heartbeats")
            return Done()

        worker.handle(Note, handler)
        job_id = add_queued(engine, tenant.id, Note())
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert job_facts(engine, job_id).state == "succeeded"
        assert beats == sorted(beats)

    def test_a_handler_hears_that_its_job_is_gone(
        self, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        reached: list[str] = []

        def handler(ctx: Context, _: JobContract) -> Done:
            with engine.begin() as other:
                assert claim_now(other, ctx.job.id, redelivered=True) is not None
            lost = threading.Event()

            def checked() -> bool:
                try:
                    ctx.check()
                except LostLease:
                    lost.set()
                    raise
                return False

            reached.append("waiting")
            wait_for(checked, what="the heartbeat's word")
            reached.append("never")
            return Done()

        worker.handle(Note, handler)
        job_id = add_queued(engine, tenant.id, Note())
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert reached == ["waiting"]
        assert job_facts(engine, job_id).attempt == 2
