"""Queues, pools, what is dead and whether the dispatcher is there; live."""

from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy import Engine

from app.api.live import LiveFeed, Snapshot, event_stream
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
POLL_SECONDS = 2.0


@router.get("/overview")
def overview_page(visit: Reading, tx: Tx) -> Response:
    """All of it, as of now; a script follows the stream."""
    return visit.page("overview.html", tx, view=overview(tx))


@router.get("/live/{thing}")
def live(thing: str, visit: Reading) -> Response:
    """The stream: of the overview, or of one job."""
    thing_id = EVERYTHING if thing == "overview" else an_id(thing, "job")
    feed: LiveFeed = visit.request.app.state.console_feed
    return event_stream(
        feed,
        thing_id,
        event="news",
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
        seconds=STREAM_SECONDS,
    )


def console_snapshot(engine: Engine, thing_id: UUID) -> Snapshot | None:
    """What is sent of it: the figures, or a word that changes when the job does."""
    with engine.connect() as tx:
        if thing_id == EVERYTHING:
            return Snapshot(overview(tx).as_json(), ended=False)
        found = stamp(tx, thing_id)
    return None if found is None else Snapshot(*found)
