"""Say how a month's reports went."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec


class ReportMonthlyDone(JobContract):
    """The batch of the month's reports; it may have ended before, and been opened again by a replay."""

    spec: ClassVar[JobSpec] = JobSpec(kind="report.monthly_done", queue=Queue.LOW)

    month: str
    batch_id: UUID
