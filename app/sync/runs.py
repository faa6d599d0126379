"""Runs: one pull and push of a connection, begun, counted and ended."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ids import new_id
from app.jobs import SyncPull
from app.ledger.enqueue import enqueue
from app.sync import connections
from app.sync.connections import Access

_START = text("""
    INSERT INTO sync_runs (id, tenant_id, connection_id) VALUES (:id, :tenant_id, :connection_id)
    ON CONFLICT (connection_id) WHERE state IN ('queued', 'running') DO NOTHING
    RETURNING id
""")
_ACTIVE = text("""
    SELECT id FROM sync_runs
    WHERE connection_id = :connection_id AND state IN ('queued', 'running')
""")
_BEGIN = text("""
    UPDATE sync_runs r
    SET state = 'running', started_at = coalesce(r.started_at, clock_timestamp())
    FROM connections c
    WHERE r.id = :run_id AND r.tenant_id = :tenant_id AND r.state IN ('queued', 'running')
      AND c.id = r.connection_id AND c.state = 'active'
    RETURNING r.id AS run_id, r.tenant_id, c.id AS connection_id, c.base_url, c.token, c.per_second,
              c.push, c.deletes, c.cursor, c.since
""")
_COUNT = text("""
    UPDATE sync_runs SET counts = (
        SELECT jsonb_object_agg(key, total) FROM (
            SELECT key, sum(CAST(value AS int)) AS total
            FROM (SELECT * FROM jsonb_each_text(sync_runs.counts)
                  UNION ALL SELECT * FROM jsonb_each_text(CAST(:more AS jsonb))) AS each
            GROUP BY key) AS sums)
    WHERE id = :run_id AND :more <> '{}'
""")
_SUCCEED = text("""
    WITH run AS (
        UPDATE sync_runs SET state = 'succeeded', finished_at = clock_timestamp()
        WHERE id = :run_id AND state = 'running' RETURNING connection_id)
    UPDATE connections SET synced_at = clock_timestamp() FROM run WHERE id = run.connection_id
""")
_FAIL = text("""
    UPDATE sync_runs
    SET state = :state, error = CAST(:error AS jsonb), finished_at = clock_timestamp()
    WHERE id = :run_id AND state IN ('queued', 'running')
    RETURNING connection_id
""")
_REVIVE = text("""
    UPDATE sync_runs r SET state = 'queued', error = NULL, finished_at = NULL
    WHERE id = :run_id AND NOT EXISTS (
        SELECT FROM sync_runs other WHERE other.connection_id = r.connection_id
        AND other.state IN ('queued', 'running'))
""")
_COLUMNS = "id, connection_id, state, counts, error, created_at, started_at, finished_at"
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM sync_runs
    WHERE connection_id = :connection_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608
_LOAD = text(f"SELECT {_COLUMNS} FROM sync_runs WHERE id = :run_id")  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it stands."""

    id: UUID
    connection_id: UUID
    state: str
    counts: dict[str, int]
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job of a run needs to know; `cursor` and `since` say where the sweep goes on."""

    run_id: UUID
    tenant_id: UUID
    connection_id: UUID
    base_url: str
    token: bytes
    per_second: int
    push: bool
    deletes: str
    cursor: str | None
    since: datetime | None

    @property
    def access(self) -> Access:
        """To the remote."""
        return Access(
            tenant_id=self.tenant_id,
            connection_id=self.connection_id,
            base_url=self.base_url,
            token=self.token,
            per_second=self.per_second,
        )


def start(
    tx: Connection, tenant_id: UUID, connection_id: UUID, *, parent_id: UUID | None = None
) -> Run:
    """Begin a run, or return the one that hasn't ended. Raises NotFound; Conflict while it is paused."""
    connections.check_active(connections.load(tx, tenant_id, connection_id))
    facts = {"id": new_id(), "tenant_id": tenant_id, "connection_id": connection_id}
    made: UUID | None = tx.execute(_START, facts).scalar_one_or_none()
    if made is not None:
        job = SyncPull(run_id=made, connection_id=connection_id)
        enqueue(tx, tenant_id, job, parent_id=parent_id)
        return load(tx, made)
    active: UUID | None = tx.execute(_ACTIVE, facts).scalar_one_or_none()
    return load(tx, active) if active is not None else start(tx, tenant_id, connection_id)


def begin(tx: Connection, tenant_id: UUID, run_id: UUID) -> Work | None:
    """The work, with the run marked as running; None when it has ended, or its connection is paused."""
    row = tx.execute(_BEGIN, {"tenant_id": tenant_id, "run_id": run_id}).one_or_none()
    return None if row is None else Work(**row._mapping)  # noqa: SLF001


def count(tx: Connection, run_id: UUID, more: Mapping[str, int]) -> None:
    """Add to the run's counts."""
    told = {name: number for name, number in more.items() if number}
    tx.execute(_COUNT, {"run_id": run_id, "more": json.dumps(told)})


def succeed(tx: Connection, run_id: UUID) -> None:
    """It is done."""
    tx.execute(_SUCCEED, {"run_id": run_id})


def fail(tx: Connection, run_id: UUID, *, state: str, error: Mapping[str, Any]) -> UUID | None:
    """It ended without success; returns its connection, None when it had ended before."""
    told = json.dumps({"code": error["code"], "message": error["message"]})
    facts = {"run_id": run_id, "state": state, "error": told}
    found: UUID | None = tx.execute(_FAIL, facts).scalar_one_or_none()
    return found


def abandon(tx: Connection, run_id: UUID) -> None:
    """Its connection was paused, or deleted: it ends here, if it hasn't yet."""
    error = {"code": "connection_paused", "message": "The connection was paused meanwhile."}
    fail(tx, run_id, state="cancelled", error=error)


def revive(tx: Connection, run_id: UUID) -> None:
    """Its job is replayed; where a newer run is at work, that one does it all."""
    tx.execute(_REVIVE, {"run_id": run_id})


def load(tx: Connection, run_id: UUID) -> Run:
    """One that is there."""
    return Run(**tx.execute(_LOAD, {"run_id": run_id}).one()._mapping)  # noqa: SLF001


def find(tx: Connection, connection_id: UUID, run_id: UUID) -> Run | None:
    """One of that connection's."""
    row = tx.execute(_LOAD, {"run_id": run_id}).one_or_none()
    if row is None or row.connection_id != connection_id:
        return None
    return Run(**row._mapping)  # noqa: SLF001


def page(tx: Connection, connection_id: UUID, *, before: UUID | None, limit: int) -> list[Run]:
    """Newest first."""
    facts = {"connection_id": connection_id, "before": before, "limit": limit}
    return [Run(**row._mapping) for row in tx.execute(_PAGE, facts)]  # noqa: SLF001
