"""All rows of an import by one transaction, or none: the import's row while that goes on, and its end."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from app.imports import chunks, lifecycle
from app.imports.chunks import Chunk, Result
from app.ledger.contract import JobContract

_PROGRESS = text("""
    UPDATE imports
    SET rows_done = :rows, bytes_done = :bytes, ticked_at = clock_timestamp(), recent_rows = :rows,
        recent_seconds = :seconds
    WHERE id = :id AND status = 'running'
    RETURNING pg_notify('import_progress', id::text)
""")
_APPLIED = text("""
    UPDATE imports
    SET chunks_done = chunks_total, rows_done = :rows, total = :rows,
        inserted = :inserted, updated = :updated, unchanged = :unchanged
    WHERE id = :id AND status = 'running'
""")
_REFUSED = text("""
    UPDATE imports SET rows_done = :rows, total = :rows, rejected = :rejected
    WHERE id = :id AND status = 'running'
""")
_KEEP_REJECTED = text("""
    UPDATE import_chunks
    SET rejected = :rejected, rejected_key = :rejected_key, rejected_rows = :rejected_rows,
        rejected_from = :rejected_from, rejected_to = :rejected_to
    WHERE import_id = :id AND index = :index
""")

Results = Sequence[tuple[Chunk, Result]]


def show_progress(tx: Connection, import_id: UUID, done: Results, *, seconds: float) -> bool:
    """For those who watch, beside the transaction that writes; False when the import has ended."""
    facts = {
        "id": import_id,
        "rows": sum(result.total for _, result in done),
        "bytes": sum(chunk.end - chunk.start for chunk, _ in done),
        "seconds": seconds,
    }
    return tx.execute(_PROGRESS, facts).one_or_none() is not None


def finish(tx: Connection, import_id: UUID, done: Results) -> list[JobContract] | None:
    """All rows are written and none is rejected: say so, in the same commit. Returns what is to be
    enqueued; None when the import has ended, and then the caller keeps nothing.
    """
    for chunk, result in done:
        chunks.mark_done(tx, import_id, chunk, result)
    results = [result for _, result in done]
    counts = {
        name: sum(result.counts[name] for result in results)
        for name in ("inserted", "updated", "unchanged")
    }
    rows = sum(result.total for result in results)
    if tx.execute(_APPLIED, {"id": import_id, "rows": rows, **counts}).rowcount == 0:
        return None
    return lifecycle.end(tx, import_id, status="succeeded")


def refuse(tx: Connection, import_id: UUID, done: Results) -> list[JobContract]:
    """Rows were rejected, and nothing is written: keep which ones, and end the import as failed."""
    rejected = sum(result.rejected for _, result in done)
    rows = sum(result.total for _, result in done)
    facts = {"id": import_id, "rows": rows, "rejected": rejected}
    if tx.execute(_REFUSED, facts).rowcount == 0:
        return []
    kept = [_kept(import_id, chunk, result) for chunk, result in done if result.part]
    tx.execute(_KEEP_REJECTED, kept)
    error = chunks.rows_rejected(rejected)
    return lifecycle.end(tx, import_id, status="failed", error=error)


def _kept(import_id: UUID, chunk: Chunk, result: Result) -> dict[str, object]:
    part = result.part
    assert part is not None
    return {
        "id": import_id,
        "index": chunk.index,
        "rejected": result.rejected,
        "rejected_key": result.rejected_key,
        "rejected_rows": part.facts,
        "rejected_from": part.first,
        "rejected_to": part.last,
    }
