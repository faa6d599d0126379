"""The chunks of an import: recorded as the plan finds them, handed out as jobs of a batch, ticked off.

`chunks_done` changes only with the import's row locked, in the commit that finishes a chunk: the one that
is the last ends the import in it.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.imports import lifecycle, parts
from app.imports.rejected import Part
from app.jobs import ImportApplyAll, ImportChunk
from app.ledger.contract import JobContract
from app.ledger.store import Claimed
from app.plurals import counted

_RECORDED = text("""
    SELECT coalesce(i.chunks_total, 0) AS chunks, c.byte_end, c.first_row + c.rows AS next_row
    FROM imports i LEFT JOIN import_chunks c
         ON c.import_id = i.id AND c.index = i.chunks_total - 1
    WHERE i.id = :import_id
""")
# Zero rows mean that the import has ended, or that another plan of it was here first.
_PLANNED = text("""
    UPDATE imports
    SET chunks_total = :known + :new, total = total + :filled,
        planned_at = CASE WHEN :complete THEN clock_timestamp() END
    WHERE id = :import_id AND status = 'running' AND planned_at IS NULL
      AND coalesce(chunks_total, 0) = :known
    RETURNING all_or_nothing AND NOT dry_run AS at_once, chunks_done = chunks_total AS all_done, pg_notify('import_progress', id::text)
""")
_ADD_CHUNK = text("""
    INSERT INTO import_chunks (import_id, index, tenant_id, byte_start, byte_end, first_row, rows, filled,
                               object_key, superseded)
    VALUES (:import_id, :index, :tenant_id, :byte_start, :byte_end, :first_row, :rows, :filled,
            :object_key, :superseded)
""")
_CHUNK = text("""
    SELECT index AS number, byte_start, byte_end, first_row, rows, filled, object_key, superseded
    FROM import_chunks WHERE import_id = :import_id AND index = :index AND done_at IS NULL
""")
_DONE = text("""
    UPDATE import_chunks
    SET done_at = clock_timestamp(), inserted = :inserted, updated = :updated, unchanged = :unchanged,
        rejected = :rejected, rejected_key = :rejected_key, rejected_rows = :rejected_rows,
        rejected_from = :rejected_from, rejected_to = :rejected_to, changes_key = :changes_key
    WHERE import_id = :import_id AND index = :index AND done_at IS NULL
""")
# The last statement of a chunk's transaction: it locks the row that all chunks share. An import that has
# ended is not touched, and then the chunk's rows must go as well.
_TICK = text("""
    UPDATE imports
    SET chunks_done = chunks_done + 1, rows_done = rows_done + :rows, bytes_done = bytes_done + :bytes,
        total = total + :unforeseen, inserted = inserted + :inserted, updated = updated + :updated,
        unchanged = unchanged + :unchanged, rejected = rejected + :rejected,
        recent_rows = recent_rows * fade.factor + :rows,
        recent_seconds = recent_seconds * fade.factor + fade.seconds, ticked_at = fade.at
    FROM (SELECT id, at, seconds, exp(-least(seconds, 1000) / 20) AS factor
          FROM (SELECT id, clock_timestamp() AS at,
                       extract(epoch FROM clock_timestamp() - coalesce(ticked_at, started_at, created_at))::float8
                           AS seconds
                FROM imports WHERE id = :id FOR NO KEY UPDATE) locked) fade
    WHERE imports.id = fade.id AND status = 'running'
    RETURNING planned_at IS NOT NULL AND chunks_done = chunks_total AS complete,
              all_or_nothing, imports.rejected, pg_notify('import_progress', imports.id::text)
""")
_MISSING = text("""
    SELECT c.index FROM import_chunks c JOIN imports i ON i.id = c.import_id
    WHERE c.import_id = :id AND c.done_at IS NULL AND NOT (i.all_or_nothing AND NOT i.dry_run)
    ORDER BY c.index
""")
_STANDING = text("""
    SELECT planned_at IS NOT NULL AS planned, all_or_nothing AND NOT dry_run AS at_once,
           coalesce(chunks_total = chunks_done, false) AS all_done,
           inserted + updated > 0 AND NOT dry_run AS wrote
    FROM imports WHERE id = :id FOR NO KEY UPDATE
""")


@dataclass(slots=True, kw_only=True)
class Chunk:
    """A run of whole records: see app.models.ImportChunk. `superseded`: row -> the row that is used."""

    index: int
    start: int
    end: int
    first_row: int
    rows: int
    filled: int | None
    object_key: str | None = None
    superseded: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """How far a plan has come: its next chunk's number, first byte and first row (0 before the first)."""

    chunks: int
    end: int
    next_row: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a chunk's rows; `total` counts those that weren't blank."""

    total: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    part: Part | None = None
    rejected_key: str | None = None
    changes_key: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """As the statements take them."""
        return {
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an import is; it stays so until this transaction ends."""

    planned: bool
    at_once: bool
    all_done: bool
    wrote: bool


def recorded(tx: Connection, import_id: UUID) -> Recorded:
    """What earlier attempts at the plan have committed."""
    row = tx.execute(_RECORDED, {"import_id": import_id}).one()
    return Recorded(row.chunks, row.byte_end or 0, row.next_row or 0)


def record(
    tx: Connection,
    source: lifecycle.OpenImport,
    chunks: Sequence[Chunk],
    *,
    known: int,
    window: int,
    complete: bool,
    by: Claimed,
) -> list[JobContract] | None:
    """Keep the next chunks, of which `known` are before them, and hand them out, at most `window` at once;
    `complete`: there are no more. `by` is the plan's job.

    Returns what else is to be enqueued; None, and nothing is kept, when the import has ended or another plan of
    it has recorded the same.
    """
    planned = tx.execute(
        _PLANNED,
        {
            "import_id": source.id,
            "known": known,
            "new": len(chunks),
            "filled": sum(chunk.filled or 0 for chunk in chunks),
            "complete": complete,
        },
    ).one_or_none()
    if planned is None:
        return None
    if chunks:
        tx.execute(_ADD_CHUNK, [_row(source, chunk) for chunk in chunks])
        if not planned.at_once:
            jobs = [ImportChunk(import_id=source.id, index=chunk.index) for chunk in chunks]
            parts.hand_out(tx, source.id, jobs, window=window, more=not complete, by=by)
    if complete:
        parts.all_handed_out(tx, source.id)
    if complete and planned.all_done:
        return finish(tx, source.id, all_or_nothing=False, rejected=0)
    if complete and planned.at_once:
        return [ImportApplyAll(import_id=source.id)]
    return []


def load_chunk(tx: Connection, import_id: UUID, index: int) -> Chunk | None:
    """The chunk as it was planned; None when it is done already."""
    row = tx.execute(_CHUNK, {"import_id": import_id, "index": index}).one_or_none()
    if row is None:
        return None
    return Chunk(
        index=row.number,
        start=row.byte_start,
        end=row.byte_end,
        first_row=row.first_row,
        rows=row.rows,
        filled=row.filled,
        object_key=row.object_key,
        superseded=unpack_rows(row.superseded),
    )


def mark_done(tx: Connection, import_id: UUID, chunk: Chunk, result: Result) -> None:
    """Keep what became of the chunk. Raises when another attempt has done it."""
    part = result.part
    marked = tx.execute(
        _DONE,
        {
            "import_id": import_id,
            "index": chunk.index,
            **result.counts,
            "rejected_key": result.rejected_key,
            "rejected_rows": part.facts if part else None,
            "rejected_from": part.first if part else None,
            "rejected_to": part.last if part else None,
            "changes_key": result.changes_key,
        },
    )
    if marked.rowcount != 1:
        raise RuntimeError(f"chunk {chunk.index} of import {import_id} is done already")


def tick(tx: Connection, import_id: UUID, chunk: Chunk, result: Result) -> list[JobContract] | None:
    """Add a finished chunk to the import; the last one ends it.

    Returns what is to be enqueued; None when the import has ended, and then the caller keeps nothing of
    the chunk.
    """
    mark_done(tx, import_id, chunk, result)
    ticked = tx.execute(
        _TICK,
        {
            "id": import_id,
            "rows": result.total,
            "bytes": chunk.end - chunk.start,
            "unforeseen": 0 if chunk.filled is None else result.total - chunk.filled,
            **result.counts,
        },
    ).one_or_none()
    if ticked is None:
        return None
    if ticked.complete:
        return finish(tx, import_id, all_or_nothing=ticked.all_or_nothing, rejected=ticked.rejected)
    return []


def finish(
    tx: Connection, import_id: UUID, *, all_or_nothing: bool, rejected: int
) -> list[JobContract]:
    """All is done; with `all_or_nothing` one rejected row is a failure, also of a dry run."""
    if all_or_nothing and rejected:
        return lifecycle.end(tx, import_id, status="failed", error=rows_rejected(rejected))
    return lifecycle.end(tx, import_id, status="succeeded")


def rows_rejected(rejected: int) -> dict[str, str]:
    """Why nothing was imported."""
    rows = counted(rejected, "row is", "rows are")
    return {
        "code": "rows_rejected",
        "message": f"{rows} not right, and the import was to take all rows or none: nothing was "
        "imported. See the rejected rows, correct the file and send it again.",
    }


def hand_out_missing(tx: Connection, import_id: UUID, *, but: int | None = None) -> None:
    """Give new jobs to the chunks that aren't done, except to one that has a job which will begin."""
    coming = parts.still_to_come(tx, import_id) | {but}
    indexes = tx.execute(_MISSING, {"id": import_id}).scalars()
    jobs = [ImportChunk(import_id=import_id, index=each) for each in indexes if each not in coming]
    if jobs:
        parts.hand_out(tx, import_id, jobs)


def standing(tx: Connection, import_id: UUID) -> Standing:
    """How far the import is."""
    return Standing(*tx.execute(_STANDING, {"id": import_id}).one())


def _row(source: lifecycle.OpenImport, chunk: Chunk) -> Mapping[str, Any]:
    return {
        "import_id": source.id,
        "index": chunk.index,
        "tenant_id": source.tenant_id,
        "byte_start": chunk.start,
        "byte_end": chunk.end,
        "first_row": chunk.first_row,
        "rows": chunk.rows,
        "filled": chunk.filled,
        "object_key": chunk.object_key,
        "superseded": pack_rows(chunk.superseded),
    }


def pack_rows(superseded: Mapping[int, int]) -> bytes | None:
    """Row pairs as little-endian unsigned 32-bit numbers."""
    if not superseded:
        return None
    flat = [number for pair in superseded.items() for number in pair]
    return struct.pack(f"<{len(flat)}I", *flat)


def unpack_rows(packed: bytes | None) -> dict[int, int]:
    """The opposite of `pack_rows`."""
    if not packed:
        return {}
    flat: Sequence[int] = struct.unpack(f"<{len(packed) // 4}I", packed)
    return dict(zip(flat[::2], flat[1::2], strict=True))
