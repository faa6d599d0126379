"""Queues, pools, what is dead and whether the dispatcher is there; live."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine

from app.api.live import LiveFeed, Snapshot
from app.api.session import Tx
from app.console.figures import overview
from app.console.visit import ConsoleRoute, Reading, an_id
from app.ledger.life import stamp

router = APIRouter(route_class=ConsoleRoute)

EVERYTHING = UUID(int=0)
"""Under this id the overview is watched; under its own a job."""
KEEP_ALIVE_SECONDS = 10.0
STREAM_SECONDS = 60.0
"""Then the browser asks again, and its session is looked at again."""
RECONNECT_MILLISECONDS = 1000
POLL_SECONDS = 2.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/overview")
def overview_page(visit: Reading, tx: Tx) -> Response:
    """All of it, as of now; a script follows the stream."""
    return visit.page("overview.html", tx, view=overview(tx))


@router.get("/live/{thing}")
def live(thing: str, visit: Reading) -> Response:
    """The stream: of the overview, or of one job."""
    thing_id = EVERYTHING if thing == "overview" else an_id(thing, "job")
    feed: LiveFeed = visit.request.app.state.console_feed
    return StreamingResponse(
        _events(feed, thing_id), media_type="text/event-stream", headers=_HEADERS
    )


def console_snapshot(engine: Engine, thing_id: UUID) -> Snapshot | None:
    """What is sent of it: the figures, or a word that changes when the job does."""
    with engine.connect() as tx:
        if thing_id == EVERYTHING:
            return Snapshot(overview(tx).as_json(), ended=False)
        found = stamp(tx, thing_id)
    return None if found is None else Snapshot(*found)


async def _events(feed: LiveFeed, thing_id: UUID) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    until = time.monotonic() + STREAM_SECONDS
    async with feed.watch(thing_id) as watched:
        seen = 0
        while time.monotonic() < until:
            try:
                seen, news = await asyncio.wait_for(watched.newer(seen), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if news is None:
                return
            yield f"event: news\ndata: {news.text}\n\n"
            if news.ended:
                yield "event: end\ndata: {}\n\n"
                return
