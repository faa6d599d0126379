"""Undo what one chunk of an import did."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ImportUndoChunk(JobContract):
    """Chunk `index` (from 0) of the import. Safe to run again: its rows and its mark commit together."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="import.undo_chunk",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=5, base_seconds=2, cap_seconds=60),
        soft_seconds=120,
        hard_seconds=150,
    )

    import_id: UUID
    index: int
