"""Reading dead letters: as one tenant sees them, and as the operators do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import NotFound
from app.ledger.job_error import JobError

SHOWN_JOBS = 5
"""How many of a tenant's newest jobs an incident names."""

# All from the tenant's own letters: what an incident says of itself may stem from another tenant.
_TENANTS_INCIDENTS = text("""
    WITH mine AS (
        SELECT d.incident_id, count(*) AS count, min(d.first_failed_at) AS first_seen,
               max(d.last_failed_at) AS last_seen
        FROM dead_letters d
        WHERE d.tenant_id = :tenant_id AND d.state = 'open'
          AND (CAST(:before AS uuid) IS NULL OR d.incident_id < :before)
        GROUP BY d.incident_id
    ), page AS (
        SELECT i.id, i.kind, i.code, i.error_type, i.state,
               mine.count, mine.first_seen, mine.last_seen
        FROM mine JOIN incidents i ON i.id = mine.incident_id
        WHERE (CAST(:state AS text) IS NULL OR i.state = :state)
          AND (CAST(:kind AS text) IS NULL OR i.kind = :kind)
        ORDER BY i.id DESC LIMIT :limit
    )
    SELECT page.*, newest.jobs, newest.message
    FROM page CROSS JOIN LATERAL (
        SELECT array_agg(latest.job_id ORDER BY latest.id DESC) AS jobs,
               (array_agg(latest.error ->> 'message' ORDER BY latest.id DESC))[1] AS message
        FROM (
            SELECT d.id, d.job_id, d.error FROM dead_letters d
            WHERE d.tenant_id = :tenant_id AND d.state = 'open' AND d.incident_id = page.id
            ORDER BY d.id DESC LIMIT :shown
        ) latest
    ) newest
    ORDER BY page.id DESC
""")
_INCIDENT = """
    SELECT i.id, i.kind, i.code, i.error_type, i.frame, i.message, i.state, i.count, i.reopened,
           i.first_seen, i.last_seen, i.closed_at, i.ignored_until, i.note,
           letters.open, letters.tenants
    FROM incidents i CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE d.state = 'open') AS open,
               count(DISTINCT d.tenant_id) AS tenants
        FROM dead_letters d WHERE d.incident_id = i.id
    ) letters
"""
_INCIDENTS = text(f"""
    {_INCIDENT}
    WHERE i.id IN (
        SELECT id FROM incidents
        WHERE (CAST(:state AS text) IS NULL OR state = :state)
          AND (CAST(:kind AS text) IS NULL OR kind = :kind)
        ORDER BY last_seen DESC LIMIT :limit)
    ORDER BY i.last_seen DESC
""")  # noqa: S608 - constants
_ONE_INCIDENT = text(f"{_INCIDENT} WHERE i.id = :incident_id")
_KNOWN = text("""
    SELECT EXISTS (SELECT FROM dead_letters
                   WHERE incident_id = :incident_id AND tenant_id = :tenant_id)
""")
_LETTERS = text("""
    SELECT d.id, d.job_id, d.tenant_id, d.kind, d.queue, d.code, d.error, d.attempt,
           d.first_failed_at, d.last_failed_at, d.state, d.closed_at, d.closed_reason,
           d.body, d.headers, d.x_death
    FROM dead_letters d
    WHERE d.incident_id = :incident_id
      AND (CAST(:tenant_id AS uuid) IS NULL OR d.tenant_id = :tenant_id)
      AND (CAST(:state AS text) IS NULL OR d.state = :state)
      AND (CAST(:before AS uuid) IS NULL OR d.id < :before)
    ORDER BY d.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantsIncident:
    """What one tenant has open of an incident: its own count, times, message and newest jobs."""

    id: UUID
    kind: str | None
    code: str
    error_type: str | None
    state: str
    count: int
    first_seen: datetime
    last_seen: datetime
    message: str
    jobs: list[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFacts:
    """An incident over all tenants. `count` is of deaths ever seen; `open` and `tenants` are of the
    letters that are kept.
    """

    id: UUID
    kind: str | None
    code: str
    error_type: str | None
    frame: str | None
    message: str
    state: str
    count: int
    open: int
    tenants: int
    reopened: int
    first_seen: datetime
    last_seen: datetime
    closed_at: datetime | None
    ignored_until: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, whole. Tracebacks and the broker's side are for operators."""

    id: UUID
    job_id: UUID | None
    tenant_id: UUID | None
    kind: str | None
    queue: str | None
    code: str
    error: JobError
    attempt: int | None
    first_failed_at: datetime
    last_failed_at: datetime
    state: str
    closed_at: datetime | None
    closed_reason: str | None
    body: str | None
    headers: dict[str, Any] | None
    x_death: list[dict[str, Any]] | None


def tenants_incidents(
    tx: Connection,
    tenant_id: UUID,
    *,
    state: str | None = None,
    kind: str | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[TenantsIncident]:
    """Incidents of which the tenant has open letters, the newest cause first, those before `before`."""
    facts = {"tenant_id": tenant_id, "state": state, "kind": kind, "before": before}
    rows = tx.execute(_TENANTS_INCIDENTS, {**facts, "limit": limit, "shown": SHOWN_JOBS})
    return [TenantsIncident(**row._mapping) for row in rows]  # noqa: SLF001


def incidents(
    tx: Connection, *, state: str | None = None, kind: str | None = None, limit: int
) -> list[IncidentFacts]:
    """Incidents over all tenants, the one seen last first."""
    rows = tx.execute(_INCIDENTS, {"state": state, "kind": kind, "limit": limit})
    return [_incident(row) for row in rows]


def incident(tx: Connection, incident_id: UUID) -> IncidentFacts:
    """Raises NotFound."""
    row = tx.execute(_ONE_INCIDENT, {"incident_id": incident_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no incident {incident_id}.")
    return _incident(row)


def check_touched(tx: Connection, tenant_id: UUID, incident_id: UUID) -> None:
    """Raises NotFound unless the tenant has letters, open or closed, in the incident."""
    if not tx.execute(_KNOWN, {"tenant_id": tenant_id, "incident_id": incident_id}).scalar_one():
        raise NotFound(f"There is no incident {incident_id}.")


def letters(
    tx: Connection,
    incident_id: UUID,
    *,
    tenant_id: UUID | None = None,
    state: str | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[Letter]:
    """The incident's letters, newest first, those before `before`; `tenant_id` None is everybody's."""
    facts = {"incident_id": incident_id, "tenant_id": tenant_id, "state": state, "before": before}
    rows = tx.execute(_LETTERS, {**facts, "limit": limit})
    return [Letter(**row._mapping) for row in rows]  # noqa: SLF001


def _incident(row: Row[Any]) -> IncidentFacts:
    return IncidentFacts(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
