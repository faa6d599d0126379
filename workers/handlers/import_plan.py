"""Read an uploaded file once and cut it into chunk jobs."""

import time
from functools import partial

from app.errors import InvalidRequest, ScannerAway
from app.imports import chunks
from app.jobs import ImportPlan
from app.tabular.detect import Table
from workers import planning
from workers.planning import Start
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError, Snooze
from workers.runtime.registry import handles

ROUND_SECONDS = 600.0
"""A plan that takes longer goes on in another delivery of its message."""
SCANNER_AWAY_SECONDS = 15.0
"""When to look for the virus scanner again; the import waits for it, however long that takes."""


@handles(ImportPlan)
def import_plan(ctx: Context, job: ImportPlan) -> Outcome:
    """Plan the import, chunk by chunk; an attempt after a crash goes on behind the last chunk that is
    recorded. What is found wrong with the file as a whole ends the import.
    """
    start = planning.find_start(ctx, job.import_id)
    if start is None:
        return Cancel("The import has ended already, or is planned.")
    try:
        return _plan(ctx, *planning.open_file(ctx, start))
    except ScannerAway:
        return Snooze(SCANNER_AWAY_SECONDS)
    except InvalidRequest as unreadable:
        raise PermanentError(str(unreadable), code=unreadable.code) from unreadable


def _plan(ctx: Context, start: Start, table: Table) -> Outcome:
    """The chunks of each step are recorded together with the place to go on from."""
    window = ctx.settings.import_parallel_chunks
    record = partial(chunks.record, source=start.source, window=window, by=ctx.job)
    known, give_back_at = start.behind.chunks, time.monotonic() + ROUND_SECONDS
    for found in planning.planner_of(ctx, start, table).steps(ctx.checked(table.batches())):
        with ctx.checkpoint(ctx.saved or {}) as tx:
            recorded = record(tx, chunks=found, known=known, complete=False)
        if recorded is None:
            return Cancel("The import has ended, or another job has planned it.")
        known += len(found)
        if time.monotonic() > give_back_at:
            return Snooze(0)
    with ctx.transaction() as tx:
        then = record(tx, chunks=[], known=known, complete=True)
    return Cancel("The import has ended.") if then is None else Done(then=then)
