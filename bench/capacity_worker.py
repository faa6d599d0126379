"""The product's Celery application with one more kind of job: sleep."""

import time
from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task


class Sleep(JobContract):
    """Keeps a child busy for so long."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.sleep", queue=Queue.DEFAULT)

    seconds: float


@handles(Sleep)
def sleep(ctx: Context, job: Sleep) -> Outcome:
    ctx.check()
    time.sleep(job.seconds)
    return Done()


register_task(app, Sleep)
