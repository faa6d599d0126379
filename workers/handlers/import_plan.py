"""Read an uploaded file once and cut it into chunk jobs."""

import time
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from app.errors import InvalidRequest, ScannerAway
from app.imports import chunks, lifecycle, preparing, running
from app.imports.files import chunk_key
from app.imports.lifecycle import OpenImport
from app.imports.limits import ALL_OR_NOTHING_MAX_ROWS, limits_of
from app.imports.plan import Keep, Planner
from app.imports.reading import make_cleaner
from app.jobs import ImportPlan
from app.ledger.contract import JobContract
from app.scanning import gate
from app.tabular import packed
from app.tabular.batch import Batch
from app.tabular.detect import Table
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError, Snooze
from workers.runtime.registry import handles

ROUND_SECONDS = 600.0
"""A plan that takes longer goes on in another delivery of its message."""
SCANNER_AWAY_SECONDS = 15.0
"""When to look for the virus scanner again; the import waits for it, however long that takes."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where this attempt begins."""

    source: OpenImport
    behind: chunks.Recorded
    max_rows: int


@handles(ImportPlan)
def import_plan(ctx: Context, job: ImportPlan) -> Outcome:
    """Plan the import, chunk by chunk; an attempt after a crash goes on behind the last chunk that is
    recorded. What is found wrong with the file as a whole ends the import.
    """
    with ctx.read() as db:
        source = lifecycle.load_open(db, job.import_id)
        if source is None or source.planned:
            return Cancel("The import has ended already, or is planned.")
        behind = chunks.recorded(db, source.id)
        max_rows = limits_of(db, ctx.tenant_id, ctx.settings).max_rows
    if source.at_once:
        max_rows = min(max_rows, ALL_OR_NOTHING_MAX_ROWS)
    try:
        table = _prepare(ctx, source)
        return _plan(ctx, _Start(replace(source, layout=table.layout), behind, max_rows), table)
    except ScannerAway:
        return Snooze(SCANNER_AWAY_SECONDS)
    except InvalidRequest as unreadable:
        raise PermanentError(str(unreadable), code=unreadable.code) from unreadable


def _prepare(ctx: Context, source: OpenImport) -> Table:
    """Have the file there and checked, and open it."""
    with ctx.checkpoint(ctx.saved or {}) as tx:
        lifecycle.start(tx, source.id)
    if source.source == "retry" and source.retry_of is not None:
        with ctx.read() as db:
            keys = preparing.rejected_keys(db, source.retry_of)
        size = preparing.gather(ctx.storage, source, keys, ctx.checked)
        with ctx.checkpoint(ctx.saved or {}) as tx:
            preparing.record_size(tx, source.id, size)
    if source.checksum_wanted and not (ctx.saved or {}).get("checked"):
        preparing.check_sum(ctx.storage, source, ctx.checked)
        with ctx.checkpoint({"checked": True}):
            pass
    if gate.is_on(ctx.settings):
        _scan(ctx, source)
    table = preparing.table_of(ctx.storage, source)
    if source.layout is None:
        with ctx.checkpoint(ctx.saved or {}) as tx:
            preparing.record_layout(tx, source.id, table.layout)
    return table


def _scan(ctx: Context, source: OpenImport) -> None:
    """Nobody reads a file that isn't clean: the verdict is kept first, then an infected one is deleted."""
    saved = ctx.saved or {}
    if "signature" not in saved:
        verdict = gate.scan_object(ctx.settings, ctx.storage, source.object_key, ctx.checked)
        saved = {**saved, "signature": verdict.signature}
        with ctx.checkpoint(saved):
            pass
    if saved["signature"] is not None:
        ctx.storage.delete(source.object_key)
        raise gate.infected(saved["signature"])


def _plan(ctx: Context, start: _Start, table: Table) -> Outcome:
    source, known = start.source, start.behind.chunks
    planner = Planner(
        running.reader_of(source, ctx.read),
        make_cleaner(source),
        chunk_bytes=ctx.settings.import_chunk_bytes,
        max_rows=start.max_rows,
        keep=None if table.layout.rangeable else _keeper(ctx, source),
        behind=start.behind,
    )
    give_back_at = time.monotonic() + ROUND_SECONDS
    for found in planner.steps(ctx.checked(table.batches())):
        with ctx.checkpoint(ctx.saved or {}) as tx:
            recorded = _record(ctx, tx, source, found, known=known)
        if recorded is None:
            return Cancel("The import has ended, or another job has planned it.")
        known += len(found)
        if time.monotonic() > give_back_at:
            return Snooze(0)
    with ctx.transaction() as tx:
        then = _record(ctx, tx, source, [], known=known, complete=True)
    return Cancel("The import has ended.") if then is None else Done(then=then)


def _record(
    ctx: Context,
    tx: Connection,
    source: OpenImport,
    found: list[chunks.Chunk],
    *,
    known: int,
    complete: bool = False,
) -> list[JobContract] | None:
    window = ctx.settings.import_parallel_chunks
    return chunks.record(
        tx, source, found, known=known, window=window, complete=complete, by=ctx.job
    )


def _keeper(ctx: Context, source: OpenImport) -> Keep:
    """Stores a chunk's records where the file can't be read from the middle."""

    def keep(index: int, batches: list[Batch]) -> str:
        key = chunk_key(source.tenant_id, source.id, index)
        ctx.storage.put(key, packed.dump(batches), content_type="application/json")
        return key

    return keep
