"""How deep the queues are, for whoever watches them: what a dispatcher last measured (`backlog`), and what is
under way now. Every statement is bounded, and ends after STATEMENT_SECONDS.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound
from app.ledger import backlog
from app.ledger.backlog import ALL_TENANTS
from app.ledger.state import State

COUNTED = 100_000
"""So many jobs under way are looked at; the dispatcher's window is far smaller."""
STATEMENT_SECONDS = 2.0

_LIMITED = text("SELECT set_config('statement_timeout', :limit, true)")
_FLYING = text("""
    SELECT f.queue, j.state, count(*) AS jobs,
           extract(epoch FROM clock_timestamp() - min(j.run_at))::float AS age
    FROM (SELECT job_id, queue FROM in_flight LIMIT :counted) f
    JOIN jobs j ON j.id = f.job_id
    WHERE j.state IN ('queued', 'running')
    GROUP BY f.queue, j.state
""")
_TOP = text("""
    WITH waiting AS (
        SELECT tenant_id, sum(ready)::bigint AS due, sum(later)::bigint AS later, min(oldest) AS oldest
        FROM backlog WHERE tenant_id <> :all GROUP BY tenant_id
    ), flying AS (
        SELECT tenant_id, count(*) AS in_flight
        FROM (SELECT tenant_id FROM in_flight LIMIT :counted) f GROUP BY tenant_id
    ), dead AS (
        SELECT tenant_id, count(*) AS dead
        FROM (SELECT tenant_id FROM dead_letters
              WHERE state = 'open' AND tenant_id IS NOT NULL LIMIT :counted) d GROUP BY tenant_id
    )
    SELECT tenant_id, t.name, coalesce(due, 0) AS due, coalesce(later, 0) AS later,
           coalesce(in_flight, 0) AS in_flight, coalesce(dead, 0) AS dead,
           coalesce(extract(epoch FROM clock_timestamp() - oldest), 0)::float AS oldest_seconds
    FROM waiting FULL JOIN flying USING (tenant_id) FULL JOIN dead USING (tenant_id)
    JOIN tenants t ON t.id = tenant_id
    ORDER BY coalesce(due, 0) + coalesce(in_flight, 0) DESC, dead DESC, t.name
    LIMIT :limit
""")

_ONE = text("""
    SELECT t.id AS tenant_id, t.name, coalesce(sum(b.ready), 0)::bigint AS due,
           coalesce(sum(b.later), 0)::bigint AS later,
           (SELECT count(*) FROM (SELECT FROM in_flight WHERE tenant_id = t.id LIMIT :counted) f)
               AS in_flight,
           (SELECT count(*) FROM (SELECT FROM dead_letters WHERE tenant_id = t.id AND state = 'open'
                                  LIMIT :counted) d) AS dead,
           coalesce(extract(epoch FROM clock_timestamp() - min(b.oldest)), 0)::float AS oldest_seconds
    FROM tenants t LEFT JOIN backlog b ON b.tenant_id = t.id
    WHERE t.id = :tenant_id GROUP BY t.id, t.name
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Of one queue, in jobs: due and not with the broker, due later, with the broker, with a worker; and
    for how long the longest due one has been waiting to begin.
    """

    queue: str
    due: int
    later: int
    queued: int
    running: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLoad:
    """What a tenant has waiting, now and for later, under way and dead (open dead letters)."""

    tenant_id: UUID
    name: str
    due: int
    later: int
    in_flight: int
    dead: int
    oldest_seconds: float


def read_depths(tx: Connection) -> list[Depth]:
    """Of every work queue. Raises OperationalError when the database takes too long."""
    limit_statements(tx)
    flying = {
        (row.queue, row.state): (row.jobs, row.age)
        for row in tx.execute(_FLYING, {"counted": COUNTED})
    }
    none = (0, 0.0)
    found = []
    for waiting in backlog.depths(tx, ALL_TENANTS):
        queued, age = flying.get((waiting.queue, State.QUEUED), none)
        running, _ = flying.get((waiting.queue, State.RUNNING), none)
        found.append(
            Depth(
                queue=waiting.queue,
                due=waiting.ready,
                later=waiting.later,
                queued=queued,
                running=running,
                oldest_seconds=max(0.0, age, waiting.lag_seconds or 0.0),
            )
        )
    return found


def top_tenants(tx: Connection, *, limit: int) -> list[TenantLoad]:
    """The tenants with the most work due or under way, for operators: it names them all."""
    limit_statements(tx)
    rows = tx.execute(_TOP, {"all": ALL_TENANTS, "counted": COUNTED, "limit": limit})
    return [TenantLoad(**row._mapping) for row in rows]  # noqa: SLF001


def tenant_load(tx: Connection, tenant_id: UUID) -> TenantLoad:
    """Of one tenant. Raises NotFound."""
    limit_statements(tx)
    row = tx.execute(_ONE, {"tenant_id": tenant_id, "counted": COUNTED}).one_or_none()
    if row is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    return TenantLoad(**row._mapping)  # noqa: SLF001


def limit_statements(tx: Connection) -> None:
    """In this transaction none takes longer than STATEMENT_SECONDS."""
    tx.execute(_LIMITED, {"limit": f"{int(STATEMENT_SECONDS * 1000)}ms"})
