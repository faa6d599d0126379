"""Read an uploaded file once and cut it into chunk jobs."""

from app.errors import Unprocessable
from app.imports import lifecycle
from app.imports.plan import plan_file
from app.jobs import ImportPlan
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError
from workers.runtime.registry import handles


@handles(ImportPlan)
def import_plan(ctx: Context, job: ImportPlan) -> Outcome:
    """Plan the import; safe to run again: chunks and their jobs commit together, once."""
    with ctx.read() as db:
        source = lifecycle.load_open(db, job.import_id)
    if source is None:
        return Cancel("The import has ended already.")
    try:
        plan = plan_file(
            ctx.checked(ctx.storage.stream(source.object_key)),
            width=len(source.columns),
            email_column=source.fields.index("email"),
            chunk_bytes=ctx.settings.import_chunk_bytes,
        )
    except Unprocessable as unreadable:
        raise PermanentError(str(unreadable), code=unreadable.code) from unreadable
    with ctx.transaction() as tx:
        return Done(then=lifecycle.record_plan(tx, source, plan))
