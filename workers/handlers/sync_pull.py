"""Take the changes that a remote system has."""

import time
from contextlib import closing

from app.jobs import SyncPull, SyncPush
from app.sync import pulling, runs
from app.sync.aftermath import UNAUTHORIZED
from app.sync.connections import open_remote
from app.sync.remote import CursorExpired, Later, Refused, Remote, RemoteFailure, Unauthorized
from app.sync.runs import Work
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, Retry, Snooze
from workers.runtime.registry import handles

ROUND_SECONDS = 60.0
"""A pull that takes longer goes on in another delivery of its message."""


@handles(SyncPull)
def sync_pull(ctx: Context, job: SyncPull) -> Outcome:
    """One job of a connection at a time; a later attempt goes on at the cursor of the last commit."""
    ctx.lock(f"sync:{job.connection_id}")
    with ctx.checkpoint({}) as tx:
        work = runs.begin(tx, ctx.tenant_id, job.run_id)
    if work is None:
        with ctx.transaction() as tx:
            runs.abandon(tx, job.run_id)
        return Cancel("The run has ended, or its connection is paused.")
    try:
        with closing(open_remote(ctx.engine, work.access, ctx.settings)) as remote:
            return _pull(ctx, work, remote)
    except Later as later:
        return Snooze(later.seconds)
    except RemoteFailure as failure:
        return Retry(str(failure))
    except Unauthorized as bad:
        return Dead(str(bad), code=UNAUTHORIZED)
    except Refused as refused:
        return Dead(str(refused), code="sync_refused")


def _pull(ctx: Context, work: Work, remote: Remote) -> Outcome:
    give_back_at = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < give_back_at:
        ctx.check()
        try:
            page = remote.page(cursor=work.cursor, since=work.since)
        except CursorExpired:
            with ctx.checkpoint({}) as tx:
                work = pulling.begin_again(tx, work)
            continue
        with ctx.checkpoint({}) as tx:
            work = pulling.take_page(tx, work, page)
        if work.cursor is None:
            return _pulled(ctx, work)
    return Snooze(0)


def _pulled(ctx: Context, work: Work) -> Outcome:
    if work.push:
        return Done(then=[SyncPush(run_id=work.run_id, connection_id=work.connection_id)])
    with ctx.transaction() as tx:
        runs.succeed(tx, work.run_id)
    return Done()
