"""Have every tenant's monthly report made."""

from typing import Annotated, ClassVar

from pydantic import Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ReportMonthlyRun(JobContract):
    """The month of the run, such as 2026-10. None is the month before the schedule's slot (UTC), or, without one,
    before the job was made.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="report.monthly_run",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=8, base_seconds=10, cap_seconds=1800),
        soft_seconds=240,
        hard_seconds=300,
    )

    month: Annotated[
        str | None, Field(pattern=r"^(20|21)\d\d-(0[1-9]|1[0-2])$", examples=["2026-10"])
    ] = None
