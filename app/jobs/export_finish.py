"""Put the parts of an export together, or clear away what there is of them."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ExportFinish(JobContract):
    """What follows when the parts have ended, however they have; and the end of an upload of which nothing will
    come. `batch_id` is the parts' batch; None where there is none.

    Safe to run again: an upload that is complete already is recognised by its object.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="export.finish",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=8, base_seconds=5, cap_seconds=300),
        soft_seconds=120,
        hard_seconds=150,
    )

    export_id: UUID
    batch_id: UUID | None
    upload_key: str
    upload_id: str
