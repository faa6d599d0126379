"""What the jobs of a connection share: its lock, the run, the remote, and what a remote's failures come to."""

from collections.abc import Callable
from contextlib import closing

from app.jobs import SyncPull, SyncPush
from app.sync import runs
from app.sync.aftermath import UNAUTHORIZED
from app.sync.connections import open_remote
from app.sync.remote import Later, Refused, Remote, RemoteFailure, Unauthorized
from app.sync.runs import Work
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Outcome, Retry, Snooze

ROUND_SECONDS = 60.0
"""A job that takes longer goes on in another delivery of its message."""


def with_remote(
    ctx: Context, job: SyncPull | SyncPush, act: Callable[[Context, Work, Remote], Outcome]
) -> Outcome:
    """One job of a connection at a time; what it has saved stays, and `act` goes on from there."""
    ctx.lock(f"sync:{job.connection_id}")
    with ctx.checkpoint(ctx.saved or {}) as tx:
        work = runs.begin(tx, ctx.tenant_id, job.run_id)
    if work is None:
        with ctx.transaction() as tx:
            runs.abandon(tx, job.run_id)
        return Cancel("The run has ended, or its connection is paused.")
    try:
        with closing(open_remote(ctx.engine, work.access, ctx.settings)) as remote:
            return act(ctx, work, remote)
    except Later as later:
        return Snooze(later.seconds)
    except RemoteFailure as failure:
        return Retry(str(failure))
    except Unauthorized as bad:
        return Dead(str(bad), code=UNAUTHORIZED)
    except Refused as refused:
        return Dead(str(refused), code="sync_refused")
