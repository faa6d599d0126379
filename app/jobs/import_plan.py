"""Read an uploaded file once and cut it into chunks."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ImportPlan(JobContract):
    """The import to plan. It commits the chunks as it finds them, and an attempt after a crash goes on
    behind the last one. A file of many millions of rows takes minutes.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="import.plan",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=5, base_seconds=2, cap_seconds=60),
        soft_seconds=780,
        hard_seconds=840,
    )

    import_id: UUID
