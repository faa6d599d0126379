"""Have an uploaded file scanned for viruses."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class FileScan(JobContract):
    """A large one takes clamd minutes; while clamd is away the job waits, at no attempt's cost."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="file.scan",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=5, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )

    file_id: UUID
