"""The schedules that everyone gets: every tenant its daily report, the product its own housekeeping."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ids import SYSTEM_TENANT
from app.jobs import CATALOG, CleanUp, ReportDaily, ReportMonthlyRun, TrialsExpire
from app.ledger.contract import JobContract
from app.schedules.store import NewSchedule, create


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """`since` is the version of this list that first had it: an entry that is added gets the next number."""

    since: int
    name: str
    job: type[JobContract]
    cron: str
    system: bool = False
    paused: bool = False
    """What writes to customers begins when somebody resumes it, not with an update."""
    payload: dict[str, Any] = field(default_factory=dict)


DEFAULTS = (
    Default(since=1, name="daily report", job=ReportDaily, cron="0 8 * * *"),
    Default(since=1, name="trial expiry", job=TrialsExpire, cron="0 */4 * * *", system=True),
    Default(since=1, name="clean-up", job=CleanUp, cron="0 3 * * 0", system=True),
    Default(
        since=2,
        name="monthly reports",
        job=ReportMonthlyRun,
        cron="0 6 1 * *",
        system=True,
        paused=True,
    ),
)
VERSION = max(default.since for default in DEFAULTS)

_BEHIND = text("""
    SELECT id, defaults_version FROM tenants
    WHERE defaults_version < :version AND (CAST(:tenant_id AS uuid) IS NULL OR id = :tenant_id)
    ORDER BY id FOR NO KEY UPDATE
""")
_TAKEN = text("SELECT name FROM schedules WHERE tenant_id = :tenant_id")
_DONE = text("UPDATE tenants SET defaults_version = :version WHERE id = ANY(:ids)")


def install_defaults(tx: Connection, tenant_id: UUID | None = None) -> int:
    """Add what a tenant, or (None) any tenant, has not been given yet; returns how many were added.

    Safe to repeat: each is given once, so that one which was changed, paused or deleted stays so.
    """
    behind = tx.execute(_BEHIND, {"version": VERSION, "tenant_id": tenant_id}).all()
    added = sum(_install(tx, row.id, row.defaults_version) for row in behind)
    if behind:
        tx.execute(_DONE, {"version": VERSION, "ids": [row.id for row in behind]})
    return added


def _install(tx: Connection, tenant_id: UUID, version: int) -> int:
    taken = set(tx.execute(_TAKEN, {"tenant_id": tenant_id}).scalars())
    wanted = [
        default
        for default in DEFAULTS
        if default.system == (tenant_id == SYSTEM_TENANT)
        and default.since > version
        and default.name not in taken
    ]
    for default in wanted:
        new = NewSchedule(
            name=default.name,
            kind=default.job.spec.kind,
            payload=default.payload,
            cron=default.cron,
            paused=default.paused,
        )
        create(tx, tenant_id, CATALOG, new, public_only=False)
    return len(wanted)
