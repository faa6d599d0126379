"""Send our changes to a remote system."""

import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

from app.jobs import SyncPush
from app.sync import pushing, runs
from app.sync.aftermath import UNAUTHORIZED
from app.sync.connections import open_remote
from app.sync.pushing import Place
from app.sync.remote import Later, Refused, Remote, RemoteFailure, Unauthorized
from app.sync.runs import Work
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, Retry, Snooze
from workers.runtime.registry import handles

ROUND_SECONDS = 60.0


@handles(SyncPush)
def sync_push(ctx: Context, job: SyncPush) -> Outcome:
    """One job of a connection at a time; what an attempt had begun to send, the next one sends again."""
    ctx.lock(f"sync:{job.connection_id}")
    with ctx.checkpoint(ctx.saved or {}) as tx:
        work = runs.begin(tx, ctx.tenant_id, job.run_id)
    if work is None:
        with ctx.transaction() as tx:
            runs.abandon(tx, job.run_id)
        return Cancel("The run has ended, or its connection is paused.")
    try:
        with closing(open_remote(ctx.engine, work.access, ctx.settings)) as remote:
            return _push(ctx, work, remote)
    except Later as later:
        return Snooze(later.seconds)
    except RemoteFailure as failure:
        return Retry(str(failure))
    except Unauthorized as bad:
        return Dead(str(bad), code=UNAUTHORIZED)
    except Refused as refused:
        return Dead(str(refused), code="sync_refused")


def _push(ctx: Context, work: Work, remote: Remote) -> Outcome:
    """A change is recorded in one commit, sent, and its answer recorded in another."""
    place = Place.of(ctx.saved)
    give_back_at = time.monotonic() + ROUND_SECONDS
    while not place.is_over:
        if time.monotonic() > give_back_at:
            return Snooze(0)
        saved: dict[str, Any] = {}
        with ctx.checkpoint(saved) as tx:
            place, sending = pushing.record_changes(tx, work, place)
            saved.update(asdict(place))
        answers, failure = pushing.send_all(remote, work, ctx.checked(sending))
        saved = {}
        with ctx.checkpoint(saved) as tx:
            place = pushing.record_answers(tx, work, place, answers)
            saved.update(asdict(place))
        if failure is not None:
            raise failure
    with ctx.transaction() as tx:
        runs.succeed(tx, work.run_id)
    return Done()
