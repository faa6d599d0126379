"""Put the parts of an export together, or clear away what there is of them."""

from app.exports import joining, lifecycle
from app.jobs import ExportFinish
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(ExportFinish)
def export_finish(ctx: Context, job: ExportFinish) -> Outcome:
    """Look at how things stand: the batch may have ended in any way, and may have been opened again since."""
    with ctx.read() as db:
        found = joining.gather(db, ctx.tenant_id, job)
    if found is None:
        return _clear(ctx, job)
    if found.whole:
        return _begin_anew(ctx, job)
    if found.missing:
        return Done()  # a part was replayed: the batch's next end comes here again
    stored = joining.join(ctx.storage, job, found.parts)
    if stored is None:
        return _begin_anew(ctx, job)
    with ctx.transaction() as tx:
        then = lifecycle.finish(
            tx,
            ctx.tenant_id,
            job.export_id,
            stored,
            rows=found.rows,
            keep_days=ctx.settings.export_keep_days,
        )
        joining.forget_parts(tx, job)
    return Done(then)


def _clear(ctx: Context, job: ExportFinish) -> Outcome:
    ctx.storage.abort_multipart(job.upload_key, job.upload_id)
    with ctx.transaction() as tx:
        joining.forget_parts(tx, job)
    return Done()


def _begin_anew(ctx: Context, job: ExportFinish) -> Outcome:
    """In one piece: that always works out."""
    ctx.storage.abort_multipart(job.upload_key, job.upload_id)
    assert job.batch_id is not None
    with ctx.transaction() as tx:
        joining.forget_parts(tx, job)
        lifecycle.begin_anew(tx, job.export_id, job.batch_id, of=("queued", "running"), whole=True)
    return Done()
