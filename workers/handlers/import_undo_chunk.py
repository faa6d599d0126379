"""Undo what one chunk of an import did."""

from app.imports import undoing
from app.jobs import ImportUndoChunk
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles


@handles(ImportUndoChunk)
def import_undo_chunk(ctx: Context, job: ImportUndoChunk) -> Outcome:
    """Take back one chunk; safe to run again: its rows and its mark commit together."""
    with ctx.read() as db:
        work = undoing.load_work(db, job.import_id, job.index)
    if work is None:
        return Cancel("This part is undone already, or the undo has ended.")
    with ctx.transaction() as tx, tx.begin_nested() as rows:
        undone = undoing.undo_and_tick(tx, work)
        if not undone:
            rows.rollback()
    return Done() if undone else Cancel("This part is undone already.")
