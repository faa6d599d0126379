"""Take the changes that a remote system has."""

import time

from app.jobs import SyncPull, SyncPush
from app.sync import pulling, runs
from app.sync.remote import CursorExpired, Refused, Remote
from app.sync.runs import Work
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome, Snooze
from workers.runtime.registry import handles
from workers.syncing import ROUND_SECONDS, with_remote


@handles(SyncPull)
def sync_pull(ctx: Context, job: SyncPull) -> Outcome:
    """One job of a connection at a time; a later attempt goes on at the cursor of the last commit."""
    return with_remote(ctx, job, _pull)


def _pull(ctx: Context, work: Work, remote: Remote) -> Outcome:
    try:
        return _sweep(ctx, work, remote)
    except Refused:
        with ctx.checkpoint({}) as tx:
            pulling.forget_cursor(tx, work)
        raise


def _sweep(ctx: Context, work: Work, remote: Remote) -> Outcome:
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
