"""Send our changes to a remote system."""

import time
from dataclasses import asdict
from typing import Any

from app.jobs import SyncPush
from app.sync import pushing, runs
from app.sync.pushing import Place
from app.sync.remote import Remote
from app.sync.runs import Work
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome, Snooze
from workers.runtime.registry import handles
from workers.syncing import ROUND_SECONDS, with_remote


@handles(SyncPush)
def sync_push(ctx: Context, job: SyncPush) -> Outcome:
    """One job of a connection at a time; what an attempt had begun to send, the next one sends again."""
    return with_remote(ctx, job, _push)


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
