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
        retry=RetryPolicy(attempts=12, base_seconds=5, cap_seconds=3600),
        soft_seconds=40,
        hard_seconds=60,
    )
