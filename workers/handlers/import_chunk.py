"""Import one chunk of a file."""

from app.imports import chunks, lifecycle, running
from app.imports.apply import Policy
from app.imports.chunks import Chunk
from app.imports.lifecycle import OpenImport
from app.imports.reading import CleanChunk
from app.imports.running import Shelf
from app.jobs import ImportChunk
from app.metrics.declared import IMPORT_ROWS
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles

ENDED = Cancel("The import has ended already.")


@handles(ImportChunk)
def import_chunk(ctx: Context, job: ImportChunk) -> Outcome:
    """Write one chunk; safe to run again: the chunk's rows and its tick commit together."""
    with ctx.read() as db:
        source = lifecycle.load_open(db, job.import_id)
        if source is None:
            return ENDED
        chunk = chunks.load_chunk(db, job.import_id, job.index)
    if chunk is None:
        return Cancel("This part of the file is imported already.")
    shelf = Shelf(ctx.storage, source, chunk, f"{ctx.job.id.hex}-{ctx.job.attempt}")
    found = running.clean(ctx.storage, source, chunk, ctx.read)
    if source.options.dry_run:
        return _look_ahead(ctx, source, chunk, found, shelf)
    return _write(ctx, source, chunk, found, shelf)


def _write(
    ctx: Context, source: OpenImport, chunk: Chunk, found: CleanChunk, shelf: Shelf
) -> Outcome:
    """All in one commit. Files are stored before it, and before rows are locked where that is possible."""
    early = source.options.policy is Policy.UPSERT
    kept = shelf.keep_rejected(found) if early else (None, None)
    with ctx.transaction() as tx, tx.begin_nested() as rows:
        applied = running.write(tx, source, chunk, found)
        if not early:
            kept = shelf.keep_rejected(found)
        result = running.result_of(found, applied, kept)
        then = chunks.tick(tx, source.id, chunk, result)
        if then is None:
            rows.rollback()
            return ENDED
    ctx.count(IMPORT_ROWS, result.counts)
    return Done(then=then)


def _look_ahead(
    ctx: Context, source: OpenImport, chunk: Chunk, found: CleanChunk, shelf: Shelf
) -> Outcome:
    """A dry run's chunk: nothing of its rows is written, but what would be is told."""
    with ctx.read() as db:
        seen = running.look_ahead(db, source, found)
    kept = shelf.keep_rejected(found)
    result = running.result_of(found, seen, kept, shelf.keep_changes(seen.changes))
    with ctx.transaction() as tx, tx.begin_nested() as rows:
        then = chunks.tick(tx, source.id, chunk, result)
        if then is None:
            rows.rollback()
    return ENDED if then is None else Done(then=then)
