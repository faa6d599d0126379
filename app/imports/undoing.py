"""Undo an import: what it wrote is taken back chunk by chunk, a few chunks at a time.

A chunk's rows, its mark and the import's counters are one commit; the next chunk gets its job in it. So an
undo that is interrupted has undone whole chunks, and goes on with the others.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict
from app.imports import lifecycle
from app.imports.apply import UndoSink
from app.imports.targets import TARGETS
from app.imports.undo import Undone, undo_chunk
from app.jobs import ImportUndoChunk
from app.ledger.contract import JobContract
from app.ledger.enqueue import NewJob, enqueue_many

_OWN = text("""
    SELECT status, dry_run, undo_status,
           finished_at < clock_timestamp() - make_interval(days => :days) AS forgotten
    FROM imports WHERE id = :id AND tenant_id = :tenant_id FOR NO KEY UPDATE
""")
_BEGIN = text("""
    UPDATE imports
    SET undo_status = 'running', undo_error = NULL, undo_finished_at = NULL,
        undo_started_at = coalesce(undo_started_at, clock_timestamp())
    WHERE id = :id
    RETURNING undo_released, pg_notify('import_progress', id::text)
""")
_LOAD = text("""
    SELECT i.tenant_id, i.target FROM imports i JOIN import_chunks c ON c.import_id = i.id
    WHERE i.id = :id AND c.index = :index AND i.undo_status = 'running' AND c.undone_at IS NULL
""")
_MARK = text("""
    UPDATE import_chunks
    SET undone_at = clock_timestamp(), kept = CAST(:kept AS jsonb), before = NULL, inserted_ids = NULL
    WHERE import_id = :id AND index = :index AND undone_at IS NULL
""")
# The last but the end and the next job: it locks the row that all chunks share.
_TICK = text("""
    UPDATE imports
    SET undo_removed = undo_removed + :removed, undo_restored = undo_restored + :restored,
        undo_kept = undo_kept + :kept
    WHERE id = :id AND undo_status = 'running'
    RETURNING undo_released, pg_notify('import_progress', id::text)
""")
_AGAIN = text("""
    SELECT c.index FROM import_chunks c JOIN imports i ON i.id = c.import_id
    WHERE i.id = :id AND c.index <= i.undo_released AND c.done_at IS NOT NULL AND c.undone_at IS NULL
      AND c.inserted + c.updated > 0
    ORDER BY c.index
""")
_NEXT = text("""
    UPDATE imports SET undo_released = next.last
    FROM (SELECT max(index) AS last, array_agg(index ORDER BY index) AS indexes
          FROM (SELECT index FROM import_chunks
                WHERE import_id = :id AND done_at IS NOT NULL AND undone_at IS NULL
                  AND inserted + updated > 0 AND index > :after
                ORDER BY index LIMIT :room) waiting) next
    WHERE id = :id AND next.last IS NOT NULL
    RETURNING next.indexes
""")
_LEFT = text("""
    SELECT EXISTS (SELECT FROM import_chunks
                   WHERE import_id = :id AND done_at IS NOT NULL AND undone_at IS NULL
                     AND inserted + updated > 0)
""")
_END = text("""
    UPDATE imports
    SET undo_status = :status, undo_finished_at = clock_timestamp(), undo_error = CAST(:error AS jsonb)
    WHERE id = :id AND undo_status = 'running'
    RETURNING pg_notify('import_progress', id::text)
""")
_REOPEN = text("""
    UPDATE imports SET undo_status = 'running', undo_finished_at = NULL, undo_error = NULL
    WHERE id = :id AND undo_status = 'failed'
    RETURNING pg_notify('import_progress', id::text)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoWork:
    """A chunk that is to be undone."""

    import_id: UUID
    index: int
    tenant_id: UUID
    target: str


def start_undo(tx: Connection, tenant_id: UUID, import_id: UUID, *, days: int, window: int) -> None:
    """Begin to take back what the import wrote, or go on after a failure; the jobs are there once `tx`
    commits. `days` is how long it is remembered, `window` how many chunks are undone at once.

    Raises NotFound, and Conflict for an import that has not ended, was a dry run, is being undone or is
    undone already, or ended too long ago.
    """
    row = tx.execute(_OWN, {"id": import_id, "tenant_id": tenant_id, "days": days}).one_or_none()
    if row is None:
        raise lifecycle.missing(import_id)
    reason = _why_not(row, days)
    if reason:
        raise Conflict(f"Import {import_id} {reason}")
    released: int = tx.execute(_BEGIN, {"id": import_id}).one().undo_released
    jobs = _again(tx, import_id)
    jobs += _next(tx, import_id, after=released, room=max(0, window - len(jobs)))
    if jobs:
        enqueue_many(tx, tenant_id, [NewJob(job=job) for job in jobs])
    else:
        end_undo(tx, import_id, status="succeeded")


def load_work(tx: Connection, import_id: UUID, index: int) -> UndoWork | None:
    """The chunk, or None when it is undone already or nothing is being undone."""
    row = tx.execute(_LOAD, {"id": import_id, "index": index}).one_or_none()
    if row is None:
        return None
    return UndoWork(import_id=import_id, index=index, tenant_id=row.tenant_id, target=row.target)


def undo_and_tick(tx: Connection, work: UndoWork) -> list[JobContract] | None:
    """Undo the chunk and add it to the import: the next one gets its job, the last one ends the undo.

    Returns what is to be enqueued; None when the undo has ended or the chunk is undone, and then the
    caller keeps nothing of this.
    """
    undone = undo_chunk(
        tx, TARGETS[work.target], work.tenant_id, UndoSink(work.import_id, work.index)
    )
    which = {"id": work.import_id, "index": work.index}
    if tx.execute(_MARK, {**which, "kept": _kept(undone)}).rowcount != 1:
        return None
    ticked = tx.execute(
        _TICK,
        {
            "id": work.import_id,
            "removed": undone.removed,
            "restored": undone.restored,
            "kept": len(undone.kept),
        },
    ).one_or_none()
    if ticked is None:
        return None
    jobs = _next(tx, work.import_id, after=ticked.undo_released, room=1)
    if not jobs and not tx.execute(_LEFT, {"id": work.import_id}).scalar_one():
        end_undo(tx, work.import_id, status="succeeded")
    return jobs


def end_undo(
    tx: Connection, import_id: UUID, *, status: str, error: Mapping[str, str] | None = None
) -> None:
    """End the undo once; a second call changes nothing."""
    facts = {"id": import_id, "status": status, "error": json.dumps(error) if error else None}
    tx.execute(_END, facts)


def resume_undo(tx: Connection, import_id: UUID) -> list[JobContract]:
    """A chunk whose job was dead is to run again, and the undo with it. Returns that job and those of the
    chunks that gave up meanwhile.
    """
    reopened = tx.execute(_REOPEN, {"id": import_id}).one_or_none()
    return _again(tx, import_id) if reopened else []


def _again(tx: Connection, import_id: UUID) -> list[JobContract]:
    """Jobs for the chunks that were given one and are not undone."""
    indexes = tx.execute(_AGAIN, {"id": import_id}).scalars()
    return [ImportUndoChunk(import_id=import_id, index=index) for index in indexes]


def _next(tx: Connection, import_id: UUID, *, after: int, room: int) -> list[JobContract]:
    row = tx.execute(_NEXT, {"id": import_id, "after": after, "room": room}).one_or_none()
    indexes: list[int] = [] if row is None else row.indexes
    return [ImportUndoChunk(import_id=import_id, index=index) for index in indexes]


def _why_not(row: Row[Any], days: int) -> str | None:
    if row.status in {"queued", "running"}:
        return "has not ended yet. Cancel it or wait, then undo it."
    if row.dry_run:
        return "was a dry run: there is nothing to undo."
    if row.undo_status == "running":
        return "is being undone already."
    if row.undo_status == "succeeded":
        return "is undone already."
    if row.forgotten:
        return f"ended more than {days} days ago; what it changed is not remembered any more."
    return None


def _kept(undone: Undone) -> str | None:
    if not undone.kept:
        return None
    return json.dumps([{"key": kept.key, "reason": kept.reason} for kept in undone.kept])
