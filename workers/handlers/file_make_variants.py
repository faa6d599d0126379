"""Make the variants of a picture."""

from app.errors import InvalidRequest
from app.files import making, store
from app.jobs import FileMakeVariants, FileScan
from app.scanning import gate
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError
from workers.runtime.registry import handles


@handles(FileMakeVariants)
def file_make_variants(ctx: Context, job: FileMakeVariants) -> Outcome:
    """Make those that are missing; safe to run again: the rows name this attempt's objects, or another's."""
    with ctx.read() as db:
        file = store.find(db, ctx.tenant_id, job.file_id)
    if file is None or not file.readable or not file.waiting:
        return Cancel("The file is deleted, or there is nothing left to make of it.")
    if file.state == "uploaded" and gate.is_on(ctx.settings):
        with ctx.transaction() as tx:
            store.scan_first(tx, file.id)
        return Done(then=[FileScan(file_id=file.id)])
    attempt = f"{ctx.job.id.hex}-{ctx.job.attempt}"
    try:
        done = making.make_variants(ctx.storage, ctx.settings, file, attempt, ctx.checked)
    except InvalidRequest as refused:
        raise PermanentError(str(refused), code=refused.code) from refused
    with ctx.transaction() as tx:
        store.sized(tx, file.id, done.width, done.height)
        for made, key in done.made:
            store.variant_done(tx, file.id, made, key)
    return Done()
