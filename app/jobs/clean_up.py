"""Delete what has been kept for long enough."""

from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class CleanUp(JobContract):
    """Everything that is older than the retention setting. It works in small commits, each with where to
    go on, and hands itself back well before its limit.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="upkeep.clean_up",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=10, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )
