"""All that the ledger has about a job, for who runs the product."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.job_error import JobError

SHOWN = 50
"""Children, effects and letters of one job that are shown."""

_INSIDE = text("""
    SELECT j.tenant_id, t.name AS tenant, j.payload, j.checkpoint, j.error, j.worker, j.lease_until,
           j.priority, p.kind AS parent_kind, p.state AS parent_state
    FROM jobs j LEFT JOIN tenants t ON t.id = j.tenant_id LEFT JOIN jobs p ON p.id = j.parent_id
    WHERE j.id = :id
""")
_CHILDREN = text("""
    SELECT id, kind, state, created_at, finished_at FROM jobs
    WHERE parent_id = :id ORDER BY id DESC LIMIT :limit
""")
_LETTERS = text("""
    SELECT id, incident_id, state, created_at, closed_at FROM dead_letters
    WHERE job_id = :id ORDER BY id DESC LIMIT :limit
""")
_EFFECTS = text("""
    SELECT name, attempt, begun_at, done_at FROM effects WHERE job_id = :id ORDER BY begun_at LIMIT :limit
""")
_STAMP = text("""
    SELECT concat_ws(' ', j.state, j.attempt, j.progress_done, j.run_at,
                     (SELECT o.parked FROM outbox o WHERE o.job_id = j.id),
                     (SELECT max(h.id) FROM job_history h WHERE h.job_id = j.id)) AS stamp,
           j.state IN ('succeeded', 'cancelled') AS ended
    FROM jobs j WHERE j.id = :id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What tenants don't see of a job."""

    tenant_id: UUID
    tenant: str | None
    payload: dict[str, Any]
    checkpoint: dict[str, Any] | None
    error: JobError | None
    worker: str | None
    lease_until: datetime | None
    priority: int
    parent_kind: str | None
    parent_state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A job that another one began."""

    id: UUID
    kind: str
    state: str
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterOf:
    """One of a job's deaths."""

    id: UUID
    incident_id: UUID
    state: str
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectOf:
    """Something that a job did elsewhere, or was about to: `done_at` None is that nobody knows yet."""

    name: str
    attempt: int
    begun_at: datetime
    done_at: datetime | None


def inside(tx: Connection, job_id: UUID) -> Inside | None:
    """None when there is no such job."""
    row = tx.execute(_INSIDE, {"id": job_id}).one_or_none()
    return None if row is None else Inside(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def newest_children(tx: Connection, job_id: UUID) -> list[Child]:
    """The newest SHOWN."""
    rows = tx.execute(_CHILDREN, {"id": job_id, "limit": SHOWN})
    return [Child(**row._mapping) for row in rows]  # noqa: SLF001


def letters_of(tx: Connection, job_id: UUID) -> list[LetterOf]:
    """Its deaths, the newest first."""
    rows = tx.execute(_LETTERS, {"id": job_id, "limit": SHOWN})
    return [LetterOf(**row._mapping) for row in rows]  # noqa: SLF001


def effects_of(tx: Connection, job_id: UUID) -> list[EffectOf]:
    """The oldest first."""
    rows = tx.execute(_EFFECTS, {"id": job_id, "limit": SHOWN})
    return [EffectOf(**row._mapping) for row in rows]  # noqa: SLF001


def stamp(tx: Connection, job_id: UUID) -> tuple[str, bool] | None:
    """A word that is another one whenever something about the job has changed, and whether it has ended for
    good; None when there is no such job.
    """
    row = tx.execute(_STAMP, {"id": job_id}).one_or_none()
    return None if row is None else (str(row.stamp), bool(row.ended))
