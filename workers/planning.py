"""What comes before the plan of an import: where it goes on, and a file that is there, checked and open."""

from dataclasses import dataclass, replace
from uuid import UUID

from app.imports import chunks, lifecycle, preparing, running
from app.imports.files import chunk_key
from app.imports.lifecycle import OpenImport
from app.imports.limits import ALL_OR_NOTHING_MAX_ROWS, limits_of
from app.imports.plan import Keep, Planner
from app.imports.reading import make_cleaner
from app.scanning import gate
from app.tabular import packed
from app.tabular.batch import Batch
from app.tabular.detect import Table
from workers.runtime.context import Context


@dataclass(frozen=True, slots=True)
class Start:
    """Where an attempt begins: behind the chunks that are recorded."""

    source: OpenImport
    behind: chunks.Recorded
    max_rows: int


def find_start(ctx: Context, import_id: UUID) -> Start | None:
    """None when the import has ended, or is planned."""
    with ctx.read() as db:
        source = lifecycle.load_open(db, import_id)
        if source is None or source.planned:
            return None
        behind = chunks.recorded(db, source.id)
        max_rows = limits_of(db, ctx.tenant_id, ctx.settings).max_rows
    return Start(
        source, behind, min(max_rows, ALL_OR_NOTHING_MAX_ROWS) if source.at_once else max_rows
    )


def open_file(ctx: Context, start: Start) -> tuple[Start, Table]:
    """Have the file there, checked and scanned, and open it; its layout is known then. What is done once is
    kept. Raises InvalidRequest for what is wrong with it, and ScannerAway.
    """
    source = start.source
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
    return replace(start, source=replace(source, layout=table.layout)), table


def planner_of(ctx: Context, start: Start, table: Table) -> Planner:
    """For the file as it was opened."""
    source = start.source
    return Planner(
        running.reader_of(source, ctx.read),
        make_cleaner(source),
        chunk_bytes=ctx.settings.import_chunk_bytes,
        max_rows=start.max_rows,
        keep=None if table.layout.rangeable else _keeper(ctx, source),
        behind=start.behind,
    )


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


def _keeper(ctx: Context, source: OpenImport) -> Keep:
    """Stores a chunk's records where the file can't be read from the middle."""

    def keep(index: int, batches: list[Batch]) -> str:
        key = chunk_key(source.tenant_id, source.id, index)
        ctx.storage.put(key, packed.dump(batches), content_type="application/json")
        return key

    return keep
