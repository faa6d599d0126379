"""Mail a tenant what happened on a day."""

from datetime import date, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec, first_moment
from app.ledger.retry import RetryPolicy


class ReportDaily(JobContract):
    """The day, by the tenant's time zone. None is the day before the schedule's slot, or, without one,
    before the job was made: the same however late it runs.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="report.daily",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=8, base_seconds=10, cap_seconds=1800),
        soft_seconds=120,
        hard_seconds=150,
        public=True,
    )

    day: Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2200, 1, 1))] | None = None

    @property
    def makes_sense_from(self) -> datetime | None:
        """The day's beginning."""
        return None if self.day is None else first_moment(self.day)
