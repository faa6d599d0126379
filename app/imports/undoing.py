"""Undo an import: what it wrote is taken back chunk by chunk, a few chunks at a time.

A chunk's rows, its mark and the import's counters are one commit. So an undo that is interrupted has undone
whole chunks, and goes on with the others.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict
from app.imports import lifecycle, parts
from app.imports.apply import UndoSink
from app.imports.targets import TARGETS
from app.imports.undo import Undone, undo_chunk
from app.jobs import ImportUndoChunk
from app.plurals import counted

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
    RETURNING pg_notify('import_progress', id::text)
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
# The last but the end: it locks the row that all chunks share.
_TICK = text("""
    UPDATE imports
    SET undo_removed = undo_removed + :removed, undo_restored = undo_restored + :restored,
        undo_kept = undo_kept + :kept
    WHERE id = :id AND undo_status = 'running'
    RETURNING pg_notify('import_progress', id::text)
""")
_LEFT = text("""
    SELECT index FROM import_chunks
    WHERE import_id = :id AND done_at IS NOT NULL AND undone_at IS NULL AND inserted + updated > 0
    ORDER BY index
""")
_ANY_LEFT = text(f"SELECT EXISTS ({_LEFT.text})")
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
    tx.execute(_BEGIN, {"id": import_id})
    if not _hand_out(tx, import_id, window=window):
        end_undo(tx, import_id, status="succeeded")


def load_work(tx: Connection, import_id: UUID, index: int) -> UndoWork | None:
    """The chunk, or None when it is undone already or nothing is being undone."""
    row = tx.execute(_LOAD, {"id": import_id, "index": index}).one_or_none()
    if row is None:
        return None
    return UndoWork(import_id=import_id, index=index, tenant_id=row.tenant_id, target=row.target)


def undo_and_tick(tx: Connection, work: UndoWork) -> bool:
    """Undo the chunk and add it to the import; the last one ends the undo. False when the undo has ended
    or the chunk is undone, and then the caller keeps nothing of this.
    """
    undone = undo_chunk(
        tx, TARGETS[work.target], work.tenant_id, UndoSink(work.import_id, work.index)
    )
    which = {"id": work.import_id, "index": work.index}
    if tx.execute(_MARK, {**which, "kept": _kept(undone)}).rowcount != 1:
        return False
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
        return False
    if not tx.execute(_ANY_LEFT, {"id": work.import_id}).scalar_one():
        end_undo(tx, work.import_id, status="succeeded")
    return True


def end_undo(
    tx: Connection, import_id: UUID, *, status: str, error: Mapping[str, str] | None = None
) -> None:
    """End the undo once; a second call changes nothing."""
    facts = {"id": import_id, "status": status, "error": json.dumps(error) if error else None}
    tx.execute(_END, facts)


def resume_undo(tx: Connection, import_id: UUID, *, but: int) -> None:
    """A chunk whose job was dead is to run again, and the undo with it: so are the chunks that gave up
    meanwhile, `but` that one.
    """
    if tx.execute(_REOPEN, {"id": import_id}).one_or_none() is not None:
        _hand_out(tx, import_id, but=but)


def _hand_out(
    tx: Connection, import_id: UUID, *, window: int | None = None, but: int | None = None
) -> bool:
    """Give jobs to the chunks that are not undone and have none which will begin; False when there is
    nothing left to undo.
    """
    left = list(tx.execute(_LEFT, {"id": import_id}).scalars())
    coming = parts.still_to_come(tx, import_id, purpose="undo") | {but}
    jobs = [ImportUndoChunk(import_id=import_id, index=each) for each in left if each not in coming]
    if jobs:
        parts.hand_out(tx, import_id, jobs, purpose="undo", window=window)
    return bool(left)


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
        return f"ended more than {counted(days, 'day')} ago; what it changed is not remembered any more."
    return None


def _kept(undone: Undone) -> str | None:
    if not undone.kept:
        return None
    return json.dumps([{"key": kept.key, "reason": kept.reason} for kept in undone.kept])
