"""Make the variants of a picture."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class FileMakeVariants(JobContract):
    """Decoding is bounded in memory and time; see app.files.decoding."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="file.make_variants",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=5, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )

    file_id: UUID
