"""What a tenant did in a month, read in one snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from app.jobs import ReportDaily, ReportMonthly
from app.plurals import counted
from app.reports.month import Month

MAX_LISTED = 1000
MAX_KINDS = 15

_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
_SUBJECT = text("""
    SELECT t.name, t.email, t.timezone, t.created_at AS customer_since, j.created_at AS made_at,
           coalesce(slot.slot_at, j.created_at) AS moment, clock_timestamp() AS now
    FROM jobs j
    JOIN tenants t ON t.id = j.tenant_id
    LEFT JOIN schedule_slots slot ON slot.job_id = j.id
    WHERE j.id = :job_id
""")
# A dry run has changed nothing.
_IMPORTS = text("""
    SELECT count(*) AS total,
           count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
           coalesce(sum(total), 0)::bigint AS rows,
           coalesce(sum(inserted), 0)::bigint AS inserted,
           coalesce(sum(updated), 0)::bigint AS updated,
           coalesce(sum(unchanged), 0)::bigint AS unchanged,
           coalesce(sum(rejected), 0)::bigint AS rejected
    FROM imports
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end AND NOT dry_run
""")
_BY_DAY = text("""
    SELECT (finished_at AT TIME ZONE :zone)::date AS day, sum(inserted)::bigint AS inserted,
           sum(updated)::bigint AS updated
    FROM imports
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end AND NOT dry_run
    GROUP BY 1
""")
_LISTED = text("""
    SELECT (finished_at AT TIME ZONE :zone) AS ended, filename, target, status, total, inserted,
           updated, rejected
    FROM imports
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end AND NOT dry_run
    ORDER BY finished_at, id LIMIT :limit
""")
_CONTACTS_BEFORE = text("""
    SELECT count(*) FROM contacts WHERE tenant_id = :tenant_id AND created_at < :begin
""")
_CONTACTS_BY_DAY = text("""
    SELECT (created_at AT TIME ZONE :zone)::date AS day, count(*) AS added FROM contacts
    WHERE tenant_id = :tenant_id AND created_at >= :begin AND created_at < :end
    GROUP BY 1
""")
# Reports don't count: or else last month's would be activity of this one.
_JOBS = text("""
    SELECT kind, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE state = 'dead') AS dead,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM jobs
    WHERE tenant_id = :tenant_id AND finished_at >= :begin AND finished_at < :end
      AND NOT kind = ANY(:reports)
    GROUP BY kind ORDER BY count(*) DESC, kind
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imports:
    """How many ended, and what became of their rows."""

    total: int
    succeeded: int
    failed: int
    cancelled: int
    rows: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLine:
    """One of them; `ended` is by the tenant's clock."""

    ended: datetime
    filename: str
    target: str
    status: str
    total: int
    inserted: int
    updated: int
    rejected: int


@dataclass(frozen=True, slots=True)
class JobLine:
    """Jobs of a kind, by how they ended."""

    kind: str
    succeeded: int
    dead: int
    cancelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyFacts:
    """All that the report shows. `contacts` are those at the end of each day, of the contacts that are
    there when it is made; `jobs_from` is the day from which on finished jobs are still known, if that
    is in the month.
    """

    tenant: str
    email: str
    month: Month
    made_at: datetime
    has_begun: bool
    is_over: bool
    imports: Imports
    listed: Sequence[ImportLine]
    contacts_before: int
    contacts: Sequence[int]
    inserted: Sequence[int]
    updated: Sequence[int]
    jobs: Sequence[JobLine]
    jobs_from: date | None

    @property
    def contacts_after(self) -> int:
        """At the month's end."""
        return self.contacts[-1]


def monthly_facts(
    tx: Connection, tenant_id: UUID, job_id: UUID, month: str | None, *, retention_days: int
) -> MonthlyFacts:
    """On the month, or on the one before the job's slot. `tx` is at the beginning of its transaction."""
    tx.execute(_SNAPSHOT)
    subject = tx.execute(_SUBJECT, {"job_id": job_id}).one()
    zone = ZoneInfo(subject.timezone)
    wanted = Month.named(month, zone) if month else Month.before(subject.moment, zone)
    between = {
        "tenant_id": tenant_id,
        "begin": wanted.begin,
        "end": wanted.end,
        "zone": subject.timezone,
    }
    imports = tx.execute(_IMPORTS, between).one()
    before: int = tx.execute(_CONTACTS_BEFORE, between).scalar_one()
    by_day = {row.day: row for row in tx.execute(_BY_DAY, between)}
    known = (subject.made_at - timedelta(days=retention_days)).astimezone(zone).date()
    return MonthlyFacts(
        tenant=subject.name,
        email=subject.email,
        month=wanted,
        made_at=subject.made_at,
        has_begun=wanted.begin <= subject.now,
        is_over=wanted.end <= subject.now,
        imports=Imports(**imports._mapping),  # noqa: SLF001 - SQLAlchemy's public name
        listed=_listed(tx, between),
        contacts_before=before,
        contacts=_growth(tx, between, wanted, before),
        inserted=[by_day[day].inserted if day in by_day else 0 for day in wanted.days],
        updated=[by_day[day].updated if day in by_day else 0 for day in wanted.days],
        jobs=_jobs(tx, between),
        jobs_from=known if known > wanted.first else None,
    )


def _listed(tx: Connection, between: Mapping[str, Any]) -> list[ImportLine]:
    rows = tx.execute(_LISTED, {**between, "limit": MAX_LISTED})
    return [ImportLine(**row._mapping) for row in rows]  # noqa: SLF001


def _growth(tx: Connection, between: Mapping[str, Any], month: Month, before: int) -> list[int]:
    added = {row.day: row.added for row in tx.execute(_CONTACTS_BY_DAY, between)}
    total, totals = before, []
    for day in month.days:
        total += added.get(day, 0)
        totals.append(total)
    return totals


def _jobs(tx: Connection, between: Mapping[str, Any]) -> list[JobLine]:
    """The kinds with the most, and all others together."""
    reports = [ReportDaily.spec.kind, ReportMonthly.spec.kind]
    rows = tx.execute(_JOBS, {**between, "reports": reports}).all()
    lines = [JobLine(row.kind, row.succeeded, row.dead, row.cancelled) for row in rows[:MAX_KINDS]]
    if others := rows[MAX_KINDS:]:
        lines.append(
            JobLine(
                counted(len(others), "other kind"),
                sum(row.succeeded for row in others),
                sum(row.dead for row in others),
                sum(row.cancelled for row in others),
            )
        )
    return lines
