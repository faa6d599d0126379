"""Begin to bring a connection up to date."""

from app.errors import Conflict, NotFound
from app.jobs import SyncRun
from app.sync import runs
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles


@handles(SyncRun)
def sync_run(ctx: Context, job: SyncRun) -> Outcome:
    """Safe to run again: a connection has one run that hasn't ended. Another tenant's is none."""
    with ctx.transaction() as tx:
        try:
            runs.start(tx, ctx.tenant_id, job.connection_id, parent_id=ctx.job.id)
        except (Conflict, NotFound) as why:
            return Cancel(str(why))
    return Done()
