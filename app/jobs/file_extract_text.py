"""Extract the text of a document."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class FileExtractText(JobContract):
    """Decoding is bounded in memory and time; see app.files.decoding."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="file.extract_text",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=5, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )

    file_id: UUID
