"""The product's Celery application with two more kinds of job, for tests of the worker itself."""

import threading
from contextlib import suppress
from typing import ClassVar

from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task


class Stuck(JobContract):
    """Hangs in its first attempt, beyond every limit."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.stuck", retry=RetryPolicy(attempts=3), soft_seconds=1, hard_seconds=2
    )


class Doomed(JobContract):
    """Can never work."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.doomed")


@handles(Stuck)
def stuck(ctx: Context, _: Stuck) -> Outcome:
    """Swallows the soft limit; only the hard one ends it."""
    while ctx.job.attempt == 1:
        with suppress(Exception):
            threading.Event().wait(60)
    return Done()


@handles(Doomed)
def doomed(_ctx: Context, _: Doomed) -> Outcome:
    return Dead("it was doomed", "doomed")


for contract in (Stuck, Doomed):
    register_task(app, contract)
