"""Brief jobs of several messages that a child has at once: a commit each, unless their contract has them travel together."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count as counting
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.ledger.contract import JobContract
from tests.support.brief import BriefNote, LoneNote, leave_effect
from tests.support.customers import Customer
from tests.support.jobs import add_queued, assert_lawful, count, events
from tests.support.runtime import Worker
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done, Outcome

JOBS = 5
KIND = LoneNote.spec.kind
ONCE = ["enqueue", "dispatch", "claim", "succeed"]
ACKNOWLEDGED = [Disposition.ACKNOWLEDGE] * JOBS


class Jobs:
    """Five of each sort, the transactions in which they ran, and what one of them does besides."""

    def __init__(self, worker: Worker, engine: Engine, tenant: Customer) -> None:
        self.lone = [add_queued(engine, tenant.id, LoneNote()) for _ in range(JOBS)]
        self.sharing = [add_queued(engine, tenant.id, BriefNote()) for _ in range(JOBS)]
        self.transactions: list[int] = []
        self.does: dict[UUID, Callable[[Context], None]] = {}
        for contract in (LoneNote, BriefNote):
            worker.handle(contract, self._handle)

    def _handle(self, ctx: Context, _: JobContract) -> Outcome:
        self.transactions.append(leave_effect(ctx))
        if does := self.does.get(ctx.job.id):
            does(ctx)
        return Done()


@pytest.fixture
def jobs(worker: Worker, engine: Engine, tenant: Customer) -> Jobs:
    return Jobs(worker, engine, tenant)


def test_each_has_a_commit_of_its_own(worker: Worker, engine: Engine, jobs: Jobs) -> None:
    assert worker.deliver_apart(KIND, jobs.lone) == ACKNOWLEDGED
    assert len(set(jobs.transactions)) == JOBS
    assert [events(engine, job_id) for job_id in jobs.lone] == [ONCE] * JOBS
    assert_lawful(engine)
    assert worker.deliver_apart(KIND, jobs.lone) == ACKNOWLEDGED, "and nothing is done again"
    assert count(engine, "locks") == JOBS


def test_those_whose_contract_has_them_travel_together_share_one(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    assert worker.deliver_apart(BriefNote.spec.kind, jobs.sharing) == ACKNOWLEDGED
    assert len(set(jobs.transactions)) == 1
    assert [events(engine, job_id) for job_id in jobs.sharing] == [ONCE] * JOBS


def test_one_that_fails_has_nobody_run_twice(worker: Worker, engine: Engine, jobs: Jobs) -> None:
    def fail(_: Context) -> None:
        raise ValueError("oops")

    jobs.does[jobs.lone[2]] = fail
    assert worker.deliver_apart(KIND, jobs.lone) == ACKNOWLEDGED
    assert len(jobs.transactions) == JOBS
    assert events(engine, jobs.lone[2]) == ["enqueue", "dispatch", "claim", "retry"]
    assert count(engine, "locks") == JOBS - 1
    assert_lawful(engine)


def fail_unseen(ctx: Context) -> None:
    """What it wrote is not to be committed, and it doesn't know."""
    with ctx.transaction() as tx, suppress(DBAPIError):
        tx.execute(text("SELECT 1 / 0"))


def fail_at_the_commit(ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute(text("CREATE TABLE once (at int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        tx.execute(text("INSERT INTO once VALUES (1), (1)"))


def close_it(ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.close()


@pytest.mark.parametrize("spoil", [fail_unseen, fail_at_the_commit, close_it])
def test_one_that_spoils_its_transaction_has_failed_and_nobody_else(
    worker: Worker, engine: Engine, jobs: Jobs, spoil: Callable[[Context], None]
) -> None:
    jobs.does[jobs.lone[2]] = spoil
    assert worker.deliver_apart(KIND, jobs.lone) == ACKNOWLEDGED
    assert len(jobs.transactions) == JOBS, "each once"
    assert events(engine, jobs.lone[2]) == ["enqueue", "dispatch", "claim", "retry"]
    assert count(engine, "locks") == JOBS - 1
    assert_lawful(engine)


def test_a_connection_that_breaks_under_one_has_that_one_come_again(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    def break_it(ctx: Context) -> None:
        with ctx.transaction() as tx:
            tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    jobs.does[jobs.lone[2]] = break_it
    assert worker.deliver_apart(KIND, jobs.lone) == ACKNOWLEDGED
    assert events(engine, jobs.lone[2]) == ["enqueue", "dispatch", "claim", "snooze"]
    assert count(engine, "locks") == JOBS - 1
    assert_lawful(engine)


def test_who_would_begin_late_is_given_back_and_not_begun(
    worker: Worker, engine: Engine, jobs: Jobs
) -> None:
    """The soft limit is five seconds, and on this clock each look at it is a second later."""
    seconds = counting()
    said = worker.deliver_apart(KIND, jobs.lone, clock=lambda: float(next(seconds)))
    assert said == [Disposition.ACKNOWLEDGE] * 3 + [Disposition.GIVE_BACK] * 2
    assert len(jobs.transactions) == 3
    assert events(engine, jobs.lone[3]) == ["enqueue", "dispatch"]
