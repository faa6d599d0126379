"""Delete what has been kept for long enough."""

import time
from dataclasses import asdict
from typing import Any

import structlog

from app.jobs import CleanUp
from app.retention import KEPT
from app.upkeep.kept import terms
from app.upkeep.prune import Place, prune_some
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome, Snooze
from workers.runtime.registry import handles

log = structlog.get_logger()

ROUND_SECONDS = 120.0


@handles(CleanUp)
def clean_up(ctx: Context, job: CleanUp) -> Outcome:  # noqa: ARG001 - it has no fields
    """One clean-up at a time, in small commits; a later attempt goes on where the last one stopped. Objects
    go after the commit that forgot them; those that a crash leaves are the dispatcher's to find.
    """
    ctx.lock("clean-up")
    place = Place.of(ctx.saved, KEPT)
    with ctx.read() as db:
        days = {t.what: t.days for t in terms(db, KEPT, default=ctx.settings.retention_days)}
    give_back_at = time.monotonic() + ROUND_SECONDS
    while place.step is not None:
        if time.monotonic() > give_back_at:
            return Snooze(1)
        saved: dict[str, Any] = {}  # kept as it is when the block ends
        with ctx.checkpoint(saved) as tx:
            done = prune_some(tx, KEPT, place, days)
            saved.update(asdict(done.place))
        for below in ctx.checked(done.prefixes):
            ctx.storage.delete_below(below)
        place = done.place
    log.info("clean_up.done", **place.removed)
    return Done()
