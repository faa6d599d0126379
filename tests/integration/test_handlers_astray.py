"""Handlers that do what isn't theirs to do: to the job's transaction, and to the process that they are called in."""

import os
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from app.ledger.contract import JobContract
from tests.support.brief import leave_effect
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, count, events, letters
from tests.support.runtime import Worker
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done, Outcome


def test_a_handler_that_commits_is_dead_and_has_committed_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Outcome:
        leave_effect(ctx)
        with ctx.transaction() as tx:
            tx.commit()
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    assert [letter.code for letter in letters(engine, job_id)] == ["own_commit"]
    assert count(engine, "locks") == 0


def test_a_handler_cannot_have_a_transaction_of_its_own_on_the_jobs_connection(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Outcome:
        with ctx.transaction() as tx, tx.begin():
            return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    assert events(engine, job_id)[-1] == "retry"


@pytest.mark.parametrize("end", [lambda: None, lambda: sys.exit(3), lambda: 1 / 0])
def test_a_process_that_a_handler_forks_ends_with_it_and_settles_nothing(
    worker: Worker, engine: Engine, tenant: Customer, end: Callable[[], object]
) -> None:
    here = os.getpid()

    def handler(ctx: Context, _: JobContract) -> Outcome:
        leave_effect(ctx)
        forked = os.fork()
        if forked == 0:
            end()
        else:
            assert os.waitpid(forked, 0)[0] == forked
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    try:
        worker.deliver(job_id)
    finally:
        if os.getpid() != here:
            os._exit(1)  # or the test would go on twice
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", "succeed"]
    assert count(engine, "locks") == 1
