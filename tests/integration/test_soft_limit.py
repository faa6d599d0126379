"""The soft limit is a signal, and comes at any moment: it reaches a handler, and nothing else."""

import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, event

from app.ledger.contract import JobContract
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, events, job_facts
from tests.support.runtime import SoftTimeout, Worker
from workers.runtime import soft_limit
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done, Outcome


@pytest.fixture(autouse=True)
def pool_s_signal() -> Iterator[None]:
    """As in a pool's child, for the test's own process."""
    before = signal.getsignal(signal.SIGUSR1)
    soft_limit.install(SoftTimeout)
    yield
    signal.signal(signal.SIGUSR1, before)


def strike() -> None:
    """Python runs the signal's handler before this returns."""
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_handler_is_interrupted_and_its_job_tried_again(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def late(_: Context, __: JobContract) -> Outcome:
        strike()
        return Done()

    worker.handle(Note, soft_limit.interruptible(late))
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert events(engine, job_id)[2:] == ["claim", "retry"]
    error = job_facts(engine, job_id).error
    assert error is not None
    assert error["code"] == "soft_time_limit"


def test_its_cleaning_up_is_not_interrupted_again() -> None:
    @soft_limit.interruptible
    def late() -> str:
        try:
            strike()
        except SoftTimeout:
            strike()
            return "tidy"
        return "never told"

    assert late() == "tidy"


@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_the_runtime_is_not(worker: Worker, engine: Engine, tenant: Customer, moment: str) -> None:
    """The end of a job is being recorded: it counts, and the signal is forgotten by the next job."""
    worker.handle(Note, soft_limit.interruptible(lambda _context, _job: Done()))
    struck = []

    def during(_: Connection) -> None:
        struck.append(moment)
        strike()

    ids = [add_queued(engine, tenant.id, Note()) for _ in range(2)]
    event.listen(engine, moment, during)
    assert worker.deliver(ids[0]) is Disposition.ACKNOWLEDGE
    event.remove(engine, moment, during)
    assert struck
    assert worker.deliver(ids[1]) is Disposition.ACKNOWLEDGE
    for job_id in ids:
        assert events(engine, job_id)[2:] == ["claim", "succeed"]
