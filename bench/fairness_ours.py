"""The product's Celery application with one more kind of job: one that takes its time."""

import time
from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task

SECONDS = 0.1


class Slow(JobContract):
    """As long as a call to somebody else's service."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="bench.slow", queue=Queue.DEFAULT, soft_seconds=5, hard_seconds=10
    )


@handles(Slow)
def slow(_ctx: Context, _job: Slow) -> Outcome:
    time.sleep(SECONDS)
    return Done()


register_task(app, Slow)
