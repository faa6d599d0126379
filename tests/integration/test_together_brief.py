"""Brief jobs of one message: one transaction for all of them, if all are done; else each for itself."""

import threading
from asyncio import CancelledError
from collections.abc import Callable
from itertools import count as counting
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.aftermath import AFTERMATHS
from app.db import driver_connection
from app.ledger.cancel import cancel
from app.ledger.contract import JobContract
from tests.support.brief import BriefNote, leave_effect
from tests.support.customers import Customer
from tests.support.jobs import (
    SmallNote,
    UrgentNote,
    add_queued,
    assert_lawful,
    children,
    count,
    events,
    job_facts,
    letters,
)
from tests.support.log_lines import log_lines
from tests.support.runtime import Killed, SoftTimeout, Worker
from workers.runtime import executor, together
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done, Outcome, Snooze

KIND = BriefNote.spec.kind
ONCE = ["enqueue", "dispatch", "claim", "succeed"]


class Jobs:
    """Five of them, and what their handler did: transactions by job, in the order of the runs."""

    def __init__(self, worker: Worker, engine: Engine, tenant: Customer) -> None:
        self.ids = [add_queued(engine, tenant.id, BriefNote()) for _ in range(5)]
        self.runs: list[tuple[UUID, int]] = []
        self.does: dict[UUID, Callable[[Context], Outcome]] = {}
        worker.handle(BriefNote, self._handle)

    def _handle(self, ctx: Context, _: JobContract) -> Outcome:
        self.runs.append((ctx.job.id, leave_effect(ctx)))
        does = self.does.get(ctx.job.id)
        return Done() if does is None else does(ctx)

    @property
    def transactions(self) -> set[int]:
        return {number for _, number in self.runs}


@pytest.fixture
def jobs(worker: Worker, engine: Engine, tenant: Customer) -> Jobs:
    return Jobs(worker, engine, tenant)


def assert_all_done_once(engine: Engine, ids: list[UUID]) -> None:
    assert [events(engine, job_id) for job_id in ids] == [ONCE] * len(ids)
    assert {(job_facts(engine, i).state, job_facts(engine, i).attempt) for i in ids} == {
        ("succeeded", 1)
    }


def test_they_are_claimed_and_done_in_one_commit(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    jobs.does[jobs.ids[1]] = lambda _: Done(then=[UrgentNote()])
    worker.deliver_together(KIND, jobs.ids)
    assert [job_id for job_id, _ in jobs.runs] == jobs.ids
    assert len(jobs.transactions) == 1
    assert_all_done_once(engine, jobs.ids)
    assert (count(engine, "locks"), count(engine, "in_flight")) == (5, 0)
    assert [children(engine, job_id) for job_id in jobs.ids] == [[], ["test.urgent"], [], [], []]
    assert_lawful(engine)
    with engine.connect() as tx:
        spans = tx.execute(text("SELECT started_at, finished_at FROM jobs WHERE attempt = 1")).all()
    begins, ends = sorted(one for one, _ in spans), sorted(one for _, one in spans)
    assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False)), "one by one"
    worker.deliver_together(KIND, jobs.ids)
    assert count(engine, "locks") == 5


@pytest.mark.parametrize(
    ("bad", "event", "effects"),
    [
        (Dead("never"), "die", 4),
        (Snooze(5), "snooze", 5),
        (ValueError("oops"), "retry", 4),
        (CancelledError(), "retry", 4),
    ],
)
def test_where_one_is_not_done_each_runs_for_itself(
    worker: Worker,
    engine: Engine,
    jobs: Jobs,
    bad: Outcome | BaseException,
    event: str,
    effects: int,
) -> None:
    def fail(_: Context) -> Outcome:
        if isinstance(bad, BaseException):
            raise bad
        return bad

    jobs.does[jobs.ids[2]] = fail
    with log_lines(executor, together) as lines:
        worker.deliver_together(KIND, jobs.ids)
    said = [line["event"] for line in lines]
    assert said.count("jobs.split") == 1
    assert said.count("job.failed") == isinstance(bad, BaseException), (
        "once, with the run that counts"
    )
    assert events(engine, jobs.ids[2]) == ["enqueue", "dispatch", "claim", event]
    assert job_facts(engine, jobs.ids[2]).attempt == 1
    assert_all_done_once(engine, [*jobs.ids[:2], *jobs.ids[3:]])
    assert count(engine, "locks") == effects
    assert_lawful(engine)


@pytest.mark.parametrize("kind", [BriefNote, SmallNote])
def test_who_would_begin_late_is_put_back_and_not_begun(
    worker: Worker, engine: Engine, tenant: Customer, kind: type[JobContract]
) -> None:
    """On this clock a quarter of the soft limit is over with each look at it."""
    worker.handle(kind, lambda ctx, _: leave_effect(ctx) and Done())
    ids = [add_queued(engine, tenant.id, kind()) for _ in range(5)]
    looks = counting(step=kind.spec.soft_seconds / 4)
    said = worker.deliver_together(kind.spec.kind, ids, clock=lambda: next(looks))
    assert said == [Disposition.ACKNOWLEDGE] * 5
    assert_all_done_once(engine, ids[:3])
    put_back = [events(engine, job_id) for job_id in ids[3:]]
    assert put_back == [["enqueue", "dispatch", "rescue"]] * 2
    assert {job_facts(engine, job_id).outbox for job_id in ids[3:]} == {True}
    assert count(engine, "locks") == 3
    assert_lawful(engine)


def test_one_that_runs_into_the_time_limit_has_had_its_attempt(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    def too_long(_: Context) -> Outcome:
        raise SoftTimeout

    jobs.does[jobs.ids[2]] = too_long
    looks = counting(step=1.0)
    worker.deliver_together(KIND, jobs.ids, clock=lambda: next(looks))
    assert [job_id for job_id, _ in jobs.runs] == jobs.ids[:3], "none of them again"
    assert events(engine, jobs.ids[2]) == ["enqueue", "dispatch", "claim", "retry"]
    error = job_facts(engine, jobs.ids[2]).error
    assert error is not None
    assert error["code"] == "soft_time_limit"
    for job_id in (*jobs.ids[:2], *jobs.ids[3:]):
        assert events(engine, job_id) == ["enqueue", "dispatch", "rescue"]
    assert_lawful(engine)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    "take_back",
    [
        lambda tx: tx.rollback(),
        lambda tx: driver_connection(tx).rollback(),
        lambda tx: tx.execute(text("ROLLBACK")),
    ],
)
def test_one_that_takes_back_what_it_wrote_takes_back_nothing_of_the_others(
    worker: Worker,
    engine: Engine,
    jobs: Jobs,
    take_back: Callable[[Connection], object],
    last: bool,
) -> None:
    def change_its_mind(ctx: Context) -> Outcome:
        with ctx.transaction() as tx:
            take_back(tx)
        return Done()

    jobs.does[jobs.ids[4 if last else 2]] = change_its_mind
    worker.deliver_together(KIND, jobs.ids)
    assert_all_done_once(engine, jobs.ids)
    assert count(engine, "locks") == 4
    assert_lawful(engine)


def test_one_that_commits_is_dead_and_the_others_have_one_effect_each(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    def commit(ctx: Context) -> Outcome:
        with ctx.transaction() as tx:
            tx.commit()
        return Done()

    jobs.does[jobs.ids[2]] = commit
    worker.deliver_together(KIND, jobs.ids)
    assert [one.code for one in letters(engine, jobs.ids[2])] == ["own_commit"]
    assert_all_done_once(engine, [*jobs.ids[:2], *jobs.ids[3:]])
    assert count(engine, "locks") == 4


def test_one_that_was_cancelled_is_left_out(
    worker: Worker, engine: Engine, tenant: Customer, jobs: Jobs
) -> None:
    with engine.begin() as tx:
        cancel(tx, AFTERMATHS, tenant.id, jobs.ids[3], reason="for a test")
    worker.deliver_together(KIND, jobs.ids)
    rest = [*jobs.ids[:3], jobs.ids[4]]
    assert [job_id for job_id, _ in jobs.runs] == rest
    assert len(jobs.transactions) == 1
    assert_all_done_once(engine, rest)
    assert job_facts(engine, jobs.ids[3]).state == "cancelled"


def test_a_message_that_comes_back_runs_them_one_by_one(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    worker.deliver_together(KIND, jobs.ids, redelivered=True)
    assert len(jobs.transactions) == 5
    assert_all_done_once(engine, jobs.ids)


def test_one_that_was_a_worker_s_end_has_the_message_for_itself(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    """Its attempts would use up the broker's patience with all that come behind it."""

    def kill(_: Context) -> Outcome:
        raise Killed

    jobs.does[jobs.ids[2]] = kill
    for redelivered in (False, True):  # all held, and then one by one
        with pytest.raises(Killed):
            worker.deliver_together(KIND, jobs.ids, redelivered=redelivered)
    del jobs.does[jobs.ids[2]]
    runs = len(jobs.runs)
    said = worker.deliver_together(KIND, jobs.ids, redelivered=True)
    assert said == [Disposition.ACKNOWLEDGE] * 5
    assert [job_id for job_id, _ in jobs.runs[runs:]] == [jobs.ids[2]]
    assert events(engine, jobs.ids[2])[2:] == ["claim", "take_over", "succeed"]
    for behind in jobs.ids[3:]:
        assert events(engine, behind)[2:] == ["rescue"]
        facts = job_facts(engine, behind)
        assert (facts.state, facts.outbox, facts.attempt) == ("scheduled", True, 0)
    assert_lawful(engine)


def test_a_connection_that_breaks_in_the_middle_costs_nobody_an_effect(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    def break_once(ctx: Context) -> Outcome:
        if len(jobs.transactions) == 1:
            with ctx.transaction() as tx:
                tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return Done()

    jobs.does[jobs.ids[4]] = break_once
    worker.deliver_together(KIND, jobs.ids)
    assert_all_done_once(engine, jobs.ids)
    assert count(engine, "locks") == 5
    assert_lawful(engine)


def test_two_messages_with_the_same_jobs_have_one_effect(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    """In opposite orders: whoever comes second waits for the first, and finds nothing to do."""
    met = threading.Barrier(2)

    def deliver(ids: list[UUID]) -> None:
        met.wait(20)
        worker.deliver_together(KIND, ids)

    both = [threading.Thread(target=deliver, args=(ids,)) for ids in (jobs.ids, jobs.ids[::-1])]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(20)
    assert_all_done_once(engine, jobs.ids)
    assert count(engine, "locks") == 5
