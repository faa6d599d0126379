"""How much waits, measured now and then by one dispatcher for all who want to know: no request counts."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from app.db import rows_prepared

ALL_TENANTS = UUID(int=2**128 - 1)
"""Whose row has a queue's figures over all tenants."""

_ALONE = text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended('millrace backlog', 0))
       AND NOT EXISTS (
           SELECT FROM backlog
           WHERE tenant_id = :all AND measured_at > clock_timestamp() - make_interval(secs => :seconds))
""")
# What is paused has no lag: nobody is late. Rows that are as they were aren't written again.
_MEASURE = text("""
    WITH held AS MATERIALIZED (
        SELECT scope, name FROM dispatch_rules WHERE paused_at IS NOT NULL
    ), mine AS MATERIALIZED (
        SELECT tenant_id, queue, count(*) FILTER (WHERE ready) AS ready,
               count(*) FILTER (WHERE NOT ready) AS later,
               min(run_at) FILTER (
                   WHERE ready
                     AND ('queue', queue) NOT IN (SELECT scope, name FROM held)
                     AND ('kind', kind) NOT IN (SELECT scope, name FROM held)
                     AND ('tenant', CAST(tenant_id AS text)) NOT IN (SELECT scope, name FROM held)
               ) AS oldest
        FROM outbox GROUP BY tenant_id, queue
    ), figures AS MATERIALIZED (
        SELECT tenant_id, queue, ready, later, oldest FROM mine
        UNION ALL
        SELECT CAST(:all AS uuid), queue.name, coalesce(sum(ready), 0), coalesce(sum(later), 0),
               min(oldest)
        FROM unnest(CAST(:queues AS text[])) AS queue(name) LEFT JOIN mine ON mine.queue = queue.name
        GROUP BY queue.name
    ), gone AS (
        DELETE FROM backlog b
        WHERE NOT EXISTS (SELECT FROM figures f WHERE (f.tenant_id, f.queue) = (b.tenant_id, b.queue))
    )
    INSERT INTO backlog AS b (tenant_id, queue, ready, later, oldest, measured_at)
    SELECT tenant_id, queue, ready, later, oldest, clock_timestamp() FROM figures
    ON CONFLICT (tenant_id, queue) DO UPDATE
    SET ready = excluded.ready, later = excluded.later, oldest = excluded.oldest,
        measured_at = excluded.measured_at
    WHERE b.tenant_id = :all
       OR (b.ready, b.later, b.oldest) IS DISTINCT FROM
          (excluded.ready, excluded.later, excluded.oldest)
""")
_FIGURES = text("""
    SELECT b.tenant_id, b.queue, b.ready, b.later, b.oldest, every.measured_at,
           extract(epoch FROM clock_timestamp() - b.oldest)::float AS lag_seconds
    FROM backlog b JOIN backlog every ON every.queue = b.queue AND every.tenant_id = :all
    WHERE b.tenant_id = ANY(:tenants)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """What waited for a queue at `measured_at`: due, and for later. `oldest` is when the longest due one was
    to run; that and the lag leave out what is paused.
    """

    tenant_id: UUID
    queue: str
    ready: int
    later: int
    oldest: datetime | None
    lag_seconds: float | None
    measured_at: datetime


def measure_backlog(tx: Connection, queues: list[str], *, seconds: float) -> bool:
    """Measure unless somebody is at it, or did less than `seconds` ago. Goes through the whole outbox."""
    if not tx.execute(_ALONE, {"all": ALL_TENANTS, "seconds": seconds}).scalar_one():
        return False
    tx.execute(_MEASURE, {"all": ALL_TENANTS, "queues": queues})
    return True


def depths(tx: Connection, *tenants: UUID) -> list[Depth]:
    """The figures of these tenants, or of ALL_TENANTS; a queue without any isn't there."""
    rows = rows_prepared(tx, _FIGURES, {"all": ALL_TENANTS, "tenants": list(tenants)})
    return [Depth(**row._asdict()) for row in rows]
