"""Tell a tenant that its trial has ended."""

from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class TrialExpiredMail(JobContract):
    """The job's own tenant."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="mail.trial_expired",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=8, base_seconds=5, cap_seconds=900),
        soft_seconds=30,
        hard_seconds=45,
    )
