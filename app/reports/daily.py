"""A tenant's day, by its own clock: what was imported, what was done, what failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from app.jobs import ReportDaily
from app.mailing.letters import DailyReport, ImportLine

MAX_LISTED = 20

_SUBJECT = text("""
    SELECT t.timezone, coalesce(slot.slot_at, j.created_at) AS moment
    FROM jobs j
    JOIN tenants t ON t.id = j.tenant_id
    LEFT JOIN schedule_slots slot ON slot.job_id = j.id
    WHERE j.id = :job_id
""")
# Reports don't count: or else yesterday's would be reason enough for today's.
_COUNTS = text("""
    SELECT count(*) FILTER (WHERE state = 'succeeded') AS finished,
           count(*) FILTER (WHERE state = 'dead') AS dead,
           (SELECT count(*) FROM contacts
            WHERE tenant_id = :tenant_id AND created_at >= :begin AND created_at < :end) AS contacts,
           (SELECT count(*) FROM imports
            WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end) AS imports
    FROM jobs
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end
      AND kind <> :report
""")
_IMPORTS = text("""
    SELECT filename, status, total, inserted, updated, rejected FROM imports
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end
    ORDER BY finished_at, id LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What happened; `listed` are the first of the `imports`."""

    imports: int
    contacts: int
    finished: int
    dead: int
    listed: Sequence[ImportLine]

    @property
    def is_none(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.imports or self.contacts or self.finished or self.dead)


def daily_letter(
    tx: Connection, tenant_id: UUID, job_id: UUID, day: date | None
) -> DailyReport | None:
    """The report on `day`, or on the day before the job's slot; None when nothing happened."""
    subject = tx.execute(_SUBJECT, {"job_id": job_id}).one()
    zone = ZoneInfo(subject.timezone)
    day = day or subject.moment.astimezone(zone).date() - timedelta(days=1)
    seen = activity(tx, tenant_id, begin=_midnight(day, zone), end=_midnight(_after(day), zone))
    if seen.is_none:
        return None
    return DailyReport(
        day=day,
        timezone=subject.timezone,
        imports=seen.imports,
        contacts=seen.contacts,
        finished=seen.finished,
        dead=seen.dead,
        listed=seen.listed,
    )


def activity(tx: Connection, tenant_id: UUID, *, begin: datetime, end: datetime) -> Activity:
    """What ended, and came in, from `begin` (included) to `end` (excluded)."""
    between = {"tenant_id": tenant_id, "begin": begin, "end": end}
    counts = tx.execute(_COUNTS, {**between, "report": ReportDaily.spec.kind}).one()
    rows = tx.execute(_IMPORTS, {**between, "limit": MAX_LISTED})
    listed = [ImportLine(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name
    return Activity(**counts._mapping, listed=listed)  # noqa: SLF001


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins, also where its first hour is skipped or comes twice."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _after(day: date) -> date:
    return day + timedelta(days=1)
