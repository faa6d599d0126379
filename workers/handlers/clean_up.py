"""Delete what has been kept for long enough."""

import time
from dataclasses import asdict
from typing import Any

import structlog

from app.jobs import CleanUp
from app.upkeep.prune import Place, prune_some
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome, Snooze
from workers.runtime.registry import handles

log = structlog.get_logger()

ROUND_SECONDS = 120.0


@handles(CleanUp)
def clean_up(ctx: Context, job: CleanUp) -> Outcome:  # noqa: ARG001 - it has no fields
    """One clean-up at a time, in small commits; a later attempt goes on where the last one stopped."""
    ctx.lock("clean-up")
    place = Place.of(ctx.saved)
    give_back_at = time.monotonic() + ROUND_SECONDS
    while place.step is not None:
        if time.monotonic() > give_back_at:
            return Snooze(1)
        saved: dict[str, Any] = {}  # kept as it is when the block ends
        with ctx.checkpoint(saved) as tx:
            place = prune_some(tx, place, days=ctx.settings.retention_days)
            saved.update(asdict(place))
    log.info("clean_up.done", **place.removed)
    return Done()
