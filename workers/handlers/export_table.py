"""Write a table of a tenant's into a file, or have it written in parts."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.errors import Unprocessable
from app.exports import lifecycle, parts
from app.exports.making import choose, make_file
from app.exports.order import content_type_of
from app.exports.rows import Between, Selection
from app.jobs import ExportTable
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Done, Outcome
from workers.runtime.registry import handles

ENDED = Cancel("The export has ended, or is gone.")


@handles(ExportTable)
def export_table(ctx: Context, job: ExportTable) -> Outcome:
    """One snapshot into one object; the export names it in the commit of the job's end. A large CSV file is
    cut into parts instead, which are jobs of their own.
    """
    with ctx.aside() as tx:
        work = lifecycle.begin(
            tx, ctx.tenant_id, job.export_id, job_id=ctx.job.id, attempt=ctx.job.attempt
        )
    if work is None:
        return ENDED
    if work.left_open is not None:
        ctx.storage.abort_multipart(*work.left_open)
    try:
        with ctx.read() as db:
            chosen = choose(db, work, max_rows=ctx.settings.export_max_rows)
            runs = parts.cut(db, work, chosen)
            if not runs:
                return _make(ctx, db, work, chosen)
    except Unprocessable as never:
        return Dead(str(never), never.code)
    return _hand_out(ctx, work, chosen, runs)


def _make(ctx: Context, db: Connection, work: lifecycle.Work, chosen: Selection) -> Outcome:
    stored, rows = make_file(db, ctx.storage, work, chosen, _Watch(ctx, work))
    days = ctx.settings.export_keep_days
    with ctx.transaction() as tx:
        then = lifecycle.finish(tx, work.tenant_id, work.id, stored, rows=rows, keep_days=days)
    return Done(then)


def _hand_out(
    ctx: Context, work: lifecycle.Work, chosen: Selection, runs: Sequence[Between]
) -> Outcome:
    """The upload is known before there is anything in it, so that whoever comes next can clear it away."""
    kind = content_type_of(work.order.format)
    upload_id = ctx.storage.begin_multipart(work.key, content_type=kind)
    batch = None
    try:
        _Watch(ctx, work).uploading(upload_id)
        window = ctx.settings.export_parallel_parts
        with ctx.transaction() as tx:
            batch = parts.hand_out(tx, work, chosen, runs, upload_id=upload_id, window=window)
    finally:
        if batch is None:
            ctx.storage.abort_multipart(work.key, upload_id)
    return ENDED if batch is None else Done([batch])


class _Watch:
    """What others see of it; ends it when it is cancelled or taken over."""

    def __init__(self, ctx: Context, work: lifecycle.Work) -> None:
        self._ctx = ctx
        self._work = work

    def uploading(self, upload_id: str) -> None:
        with self._ctx.aside() as tx:
            lifecycle.note_upload(tx, self._work, upload_id)

    def written(self, done: int, total: int) -> None:
        with self._ctx.aside() as tx:
            lifecycle.note_progress(tx, self._work, done=done, total=total)
            self._ctx.progress(tx, done=done, total=total)
