"""Write one part of a large export."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ExportPart(JobContract):
    """A run of keys that becomes one part of the export's multipart upload. `batch_id` is the batch that it
    belongs to: an export that has begun anew has another one, and then there is nothing to do here.

    Safe to run again: a part that is put again takes the place of the first, and the row that says what the
    object is made of commits with the job's end.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="export.part",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=5, cap_seconds=300),
        soft_seconds=240,
        hard_seconds=300,
    )

    export_id: UUID
    batch_id: UUID
    number: int
