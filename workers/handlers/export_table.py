"""Write a table of a tenant's into a file."""

from app.errors import Unprocessable
from app.exports import lifecycle
from app.exports.making import make_file
from app.jobs import ExportTable
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Done, Outcome
from workers.runtime.registry import handles


@handles(ExportTable)
def export_table(ctx: Context, job: ExportTable) -> Outcome:
    """One snapshot into one object; the export names it in the commit of the job's end."""
    with ctx.aside() as tx:
        work = lifecycle.begin(
            tx, ctx.tenant_id, job.export_id, job_id=ctx.job.id, attempt=ctx.job.attempt
        )
    if work is None:
        return Cancel("The export has ended, or is gone.")
    watch = _Watch(ctx, work)
    try:
        with ctx.read() as db:
            stored, rows = make_file(
                db, ctx.storage, work, watch, max_rows=ctx.settings.export_max_rows
            )
    except Unprocessable as never:
        return Dead(str(never), never.code)
    with ctx.transaction() as tx:
        then = lifecycle.finish(
            tx, work, stored, rows=rows, keep_days=ctx.settings.export_keep_days
        )
    return Done(then)


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
