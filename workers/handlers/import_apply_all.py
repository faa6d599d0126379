"""Import a planned file in one transaction, or not at all."""

import time
from dataclasses import replace

from sqlalchemy import Connection

from app.imports import at_once, chunks, lifecycle, running
from app.imports.chunks import Chunk, Result
from app.imports.lifecycle import OpenImport
from app.imports.running import Shelf
from app.jobs import ImportApplyAll
from app.metrics.declared import IMPORT_ROWS
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles

ENDED = Cancel("The import has ended already.")


@handles(ImportApplyAll)
def import_apply_all(ctx: Context, job: ImportApplyAll) -> Outcome:
    """Write every row in the job's own transaction. One rejected row, and it is rolled back; then what
    is kept are the rejected rows of the whole file. A later attempt begins from the start.
    """
    with ctx.read() as db:
        source = lifecycle.load_open(db, job.import_id)
        number = chunks.recorded(db, job.import_id).chunks if source else 0
    if source is None:
        return ENDED
    began = time.monotonic()
    done: list[tuple[Chunk, Result]] = []
    with ctx.transaction() as tx, tx.begin_nested() as rows:
        for index in range(number):
            ctx.check()
            done.append(_chunk(ctx, tx, source, index))
            if done[-1][1].inserted < done[-1][1].total:
                source = replace(source, all_new=False)
            with ctx.aside() as beside:
                seconds = time.monotonic() - began
                if not at_once.show_progress(beside, source.id, done, seconds=seconds):
                    rows.rollback()
                    return ENDED
        rejected = any(result.rejected for _, result in done)
        then = None if rejected else at_once.finish(tx, source.id, done)
        if then is None:
            rows.rollback()
        else:
            _count(ctx, done)
    if rejected:
        with ctx.transaction() as tx:
            then = at_once.refuse(tx, source.id, done)
            ctx.count(IMPORT_ROWS, {"rejected": sum(result.rejected for _, result in done)})
    return ENDED if then is None else Done(then=then)


def _count(ctx: Context, done: list[tuple[Chunk, Result]]) -> None:
    for _, result in done:
        ctx.count(IMPORT_ROWS, result.counts)


def _chunk(ctx: Context, tx: Connection, source: OpenImport, index: int) -> tuple[Chunk, Result]:
    """Write a chunk's rows, and store those that are rejected."""
    chunk = chunks.load_chunk(tx, source.id, index)
    if chunk is None:
        raise RuntimeError(f"chunk {index} of import {source.id} is done already")
    found = running.clean(ctx.storage, source, chunk, ctx.read)
    applied = running.write(tx, source, chunk, found)
    shelf = Shelf(ctx.storage, source, chunk, f"{ctx.job.id.hex}-{ctx.job.attempt}")
    kept = shelf.keep_rejected(found)
    return chunk, running.result_of(found, applied, kept)
