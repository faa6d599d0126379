"""How far a batch is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.ledger.batches import missing

_BATCH = """
    SELECT b.id, b.tenant_id, b.name, b.state, b.parent_id, b."window", b.closed_at IS NOT NULL AS closed,
           b.cancelled_at IS NOT NULL AS cancelling, b.callback_ids, b.created_at, b.finished_at,
           s.total, s.open, s.succeeded, s.dead, s.cancelled,
           CASE WHEN b."window" IS NULL THEN 0 ELSE s.open - s.placed END AS crowded_out
    FROM batches b CROSS JOIN LATERAL (
        SELECT sum(total) AS total, sum(open) AS open, sum(placed) AS placed,
               sum(succeeded) AS succeeded, sum(dead) AS dead, sum(cancelled) AS cancelled
        FROM batch_shards WHERE batch_id = b.id) s
"""
_ONE = text(f"""
    {_BATCH} WHERE b.id = :id AND (CAST(:tenant_id AS uuid) IS NULL OR b.tenant_id = :tenant_id)
""")
_MANY = text(f"""
    {_BATCH}
    WHERE b.tenant_id = :tenant_id AND (CAST(:state AS text) IS NULL OR b.state = :state)
      AND (CAST(:before AS uuid) IS NULL OR b.id < :before)
    ORDER BY b.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """A batch as it stands. Of its `total` jobs, `open` have not ended, `crowded_out` of them because the
    window has no place for them yet. `closed`: it ends when none is open; `cancelling`: it was cancelled.
    """

    id: UUID
    tenant_id: UUID
    name: str
    state: str
    parent_id: UUID | None
    window: int | None
    closed: bool
    cancelling: bool
    callback_ids: list[UUID]
    created_at: datetime
    finished_at: datetime | None
    total: int
    open: int
    crowded_out: int
    succeeded: int
    dead: int
    cancelled: int


def load_batch(tx: Connection, tenant_id: UUID | None, batch_id: UUID) -> BatchFacts:
    """Raises NotFound, also for another tenant's; `tenant_id` None is any tenant's."""
    row = tx.execute(_ONE, {"id": batch_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise missing(batch_id)
    return _facts(row)


def tenants_batches(
    tx: Connection,
    tenant_id: UUID,
    *,
    state: str | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[BatchFacts]:
    """The tenant's batches, newest first, those before `before`."""
    facts = {"tenant_id": tenant_id, "state": state, "before": before, "limit": limit}
    return [_facts(row) for row in tx.execute(_MANY, facts)]


def _facts(row: Row[Any]) -> BatchFacts:
    return BatchFacts(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
