"""The product's Celery application with two more kinds of job: an urgent brief one, and a slow one that isn't."""

import time
from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task

SECONDS = 0.2


class Urgent(JobContract):
    """Nothing but its start is of interest."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="bench.urgent", queue=Queue.HIGH, soft_seconds=5, hard_seconds=10
    )


class Patient(JobContract):
    """As long as a call to somebody else's service."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="bench.patient", queue=Queue.LOW, soft_seconds=5, hard_seconds=10
    )


@handles(Urgent)
def urgent(_ctx: Context, _job: Urgent) -> Outcome:
    return Done()


@handles(Patient)
def patient(_ctx: Context, _job: Patient) -> Outcome:
    time.sleep(SECONDS)
    return Done()


for contract in (Urgent, Patient):
    register_task(app, contract)
