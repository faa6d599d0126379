"""Write a table of a tenant's into a file."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ExportTable(JobContract):
    """The export to make. Safe to run again: every attempt writes an object of its own, and the one that
    counts is named in the commit of its end.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="export.table",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=5, base_seconds=5, cap_seconds=300),
        soft_seconds=840,
        hard_seconds=900,
    )

    export_id: UUID
