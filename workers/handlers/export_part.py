"""Write one part of a large export."""

from hashlib import sha256

from app.exports import parts
from app.exports.making import Unfit, make_part
from app.jobs import ExportPart
from app.storage import PartTaken
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles


@handles(ExportPart)
def export_part(ctx: Context, job: ExportPart) -> Outcome:
    """Read, put, and say in the commit of the job's end what was put."""
    with ctx.read() as db:
        part = parts.load_part(db, ctx.tenant_id, job)
    if part is None:
        return Cancel("The export has ended, or is made in another way.")
    try:
        with ctx.read() as db:
            body, rows = make_part(db, ctx.tenant_id, part, check=ctx.check)
        ctx.check()
        put = ctx.storage.put_part(part.key, part.upload_id, job.number, body)
    except (Unfit, PartTaken):
        with ctx.transaction() as tx:
            parts.give_up_parts(tx, job)
        return Done()
    done = parts.PartDone(
        etag=put.etag, bytes=len(body), rows=rows, sha256=sha256(body).hexdigest()
    )
    with ctx.transaction() as tx:
        wanted = parts.record_part(tx, job, done)
    return Done() if wanted else Cancel("The export has ended.")
