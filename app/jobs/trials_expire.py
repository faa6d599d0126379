"""End the trials that are over."""

from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class TrialsExpire(JobContract):
    """All tenants whose trial has ended by now. Safe to run again: plan and mail change in one commit."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="trials.expire",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=10, cap_seconds=600),
        soft_seconds=120,
        hard_seconds=150,
    )
