"""Make a tenant's monthly report."""

from datetime import date, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec, first_moment
from app.ledger.retry import RetryPolicy


class ReportMonthly(JobContract):
    """The month, by the tenant's time zone, such as 2026-10. None is the month before the schedule's slot,
    or, without one, before the job was made: the same however late it runs.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="report.monthly",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=8, base_seconds=10, cap_seconds=1800),
        soft_seconds=240,
        hard_seconds=300,
        public=True,
    )

    month: Annotated[
        str | None, Field(pattern=r"^(20|21)\d\d-(0[1-9]|1[0-2])$", examples=["2026-10"])
    ] = None

    @property
    def makes_sense_from(self) -> datetime | None:
        """The month's beginning."""
        return None if self.month is None else first_moment(date.fromisoformat(f"{self.month}-01"))
