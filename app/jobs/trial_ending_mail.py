"""Remind a tenant that its trial is about to end."""

from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class TrialEndingMail(JobContract):
    """The job's own tenant; enqueued once for each end that its trial has had."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="mail.trial_ending",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=12, base_seconds=5, cap_seconds=3600),
        soft_seconds=40,
        hard_seconds=60,
    )
