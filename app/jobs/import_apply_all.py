"""Import a planned file in one transaction, or not at all."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ImportApplyAll(JobContract):
    """All chunks of the import. Safe to run again: nothing is there before all is."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="import.apply_all",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=5, base_seconds=2, cap_seconds=60),
        soft_seconds=780,
        hard_seconds=840,
    )

    import_id: UUID
