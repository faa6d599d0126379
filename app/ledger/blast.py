"""How far an incident reaches. Everything is counted among COUNTED of its letters at most, whichever come first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

COUNTED = 50_000
SHOWN_TENANTS = 20
HOURS = 48

# The index has a tenant's letters of an incident together, so there is no cheaper order than its own.
_LETTERS = """
    SELECT tenant_id, job_id, state, queue, created_at FROM dead_letters
    WHERE incident_id = :incident_id LIMIT :counted
"""
_TOTALS = text(f"""
    SELECT count(*) AS letters, count(*) FILTER (WHERE state = 'open') AS open,
           count(*) FILTER (WHERE state = 'open' AND job_id IS NULL) AS strays,
           count(*) FILTER (WHERE state = 'replayed') AS replayed,
           count(*) FILTER (WHERE state = 'discarded') AS discarded,
           count(DISTINCT job_id) AS jobs, count(DISTINCT tenant_id) AS tenants
    FROM ({_LETTERS}) l
""")  # noqa: S608 - constants
_TENANTS = text(f"""
    SELECT l.tenant_id, t.name, count(*) AS letters, count(*) FILTER (WHERE l.state = 'open') AS open
    FROM ({_LETTERS}) l LEFT JOIN tenants t ON t.id = l.tenant_id
    WHERE l.tenant_id IS NOT NULL
    GROUP BY l.tenant_id, t.name ORDER BY open DESC, letters DESC, t.name LIMIT :shown
""")  # noqa: S608
_HOURS = text(f"""
    WITH counted AS (
        SELECT date_trunc('hour', created_at) AS at, count(*) AS deaths FROM ({_LETTERS}) l GROUP BY 1
    )
    SELECT hours.at, coalesce(deaths, 0) AS deaths
    FROM generate_series(date_trunc('hour', clock_timestamp()) - make_interval(hours => :hours - 1),
                         date_trunc('hour', clock_timestamp()), interval '1 hour') AS hours(at)
    LEFT JOIN counted USING (at) ORDER BY at
""")  # noqa: S608
_LIST = text("""
    SELECT i.id, i.kind, i.code, i.error_type, i.frame, i.message, i.state, i.count, i.reopened,
           i.first_seen, i.last_seen, i.ignored_until, i.note,
           (SELECT count(*) FROM (SELECT FROM dead_letters d
                                  WHERE d.incident_id = i.id AND d.state = 'open' LIMIT :few) o) AS open
    FROM incidents i
    WHERE (CAST(:state AS text) IS NULL OR i.state = :state)
      AND (CAST(:kind AS text) IS NULL OR i.kind = :kind)
      AND (CAST(:before AS timestamptz) IS NULL OR i.last_seen < :before)
    ORDER BY i.last_seen DESC LIMIT :limit
""")
FEW = 1_000
"""In the list, open letters are counted up to here."""
_OPEN = text("""
    SELECT count(*) AS incidents,
           (SELECT count(*) FROM (SELECT FROM dead_letters WHERE state = 'open' LIMIT :counted) d) AS letters
    FROM incidents WHERE state = 'open'
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Of the letters counted. `strays` are open ones that belong to no job."""

    letters: int
    open: int
    strays: int
    replayed: int
    discarded: int
    jobs: int
    tenants: int

    @property
    def at_least(self) -> bool:
        """Whether there may be more than were counted."""
        return self.letters >= COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedTenant:
    """`name` is None where the tenant is gone."""

    tenant_id: UUID
    name: str | None
    letters: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An incident in the list."""

    id: UUID
    kind: str | None
    code: str
    error_type: str | None
    frame: str | None
    message: str
    state: str
    count: int
    reopened: int
    first_seen: datetime
    last_seen: datetime
    ignored_until: datetime | None
    note: str | None
    open: int


def totals(tx: Connection, incident_id: UUID) -> Totals:
    """How many letters, jobs and tenants."""
    facts = {"incident_id": incident_id, "counted": COUNTED}
    return Totals(**tx.execute(_TOTALS, facts).one()._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def touched_tenants(tx: Connection, incident_id: UUID) -> list[TouchedTenant]:
    """Those with the most open letters first."""
    facts = {"incident_id": incident_id, "counted": COUNTED, "shown": SHOWN_TENANTS}
    return [TouchedTenant(**row._mapping) for row in tx.execute(_TENANTS, facts)]  # noqa: SLF001


def deaths_by_hour(tx: Connection, incident_id: UUID) -> list[tuple[datetime, int]]:
    """The last HOURS, the oldest first."""
    facts = {"incident_id": incident_id, "counted": COUNTED, "hours": HOURS}
    return [(row.at, row.deaths) for row in tx.execute(_HOURS, facts)]


def listed(
    tx: Connection,
    *,
    state: str | None,
    kind: str | None,
    before: datetime | None = None,
    limit: int,
) -> list[Listed]:
    """Over all tenants, the one seen last first, those seen last before `before`."""
    facts = {"state": state, "kind": kind, "before": before, "limit": limit, "few": FEW}
    return [Listed(**row._mapping) for row in tx.execute(_LIST, facts)]  # noqa: SLF001


def open_numbers(tx: Connection) -> tuple[int, int]:
    """How many incidents and how many letters are open, of these COUNTED at most."""
    row = tx.execute(_OPEN, {"counted": COUNTED}).one()
    return row.incidents, row.letters
