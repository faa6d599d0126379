"""An import as it happens: server-sent events."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine

from app.api.import_view import load_import, view_of
from app.api.live import LiveFeed, Snapshot, event_stream
from app.api.problems import describe
from app.api.session import CurrentTenant, EngineDep
from app.imports.lifecycle import missing

router = APIRouter(prefix="/v1", tags=["imports"])

KEEP_ALIVE_SECONDS = 15.0
_DESCRIPTION = (
    "Events called `import`, each with the whole import as JSON: as it is now, then after each change, at "
    "most five a second. An event called `end` comes last; a stream that breaks off without one is to be "
    "asked for again."
)


def import_snapshot(engine: Engine, import_id: UUID) -> Snapshot | None:
    """What watchers of the import are shown; it has ended when neither it nor its undo goes on."""
    with engine.connect() as tx:
        row = load_import(tx, import_id)
    if row is None:
        return None
    view = view_of(row)
    goes_on = view.status in {"queued", "running"} or (
        view.undo is not None and view.undo.status == "running"
    )
    return Snapshot(view.model_dump_json(), ended=not goes_on)


@router.get(
    "/imports/{import_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": _DESCRIPTION,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **describe(404, 422),
    },
)
def watch_import(
    import_id: UUID, tenant_id: CurrentTenant, request: Request, engine: EngineDep
) -> StreamingResponse:
    """Watch an import until it ends, or its undo does, by server-sent events."""
    with engine.connect() as tx:
        row = load_import(tx, import_id, tenant_id)
    if row is None:
        raise missing(import_id)
    feed: LiveFeed = request.app.state.import_feed
    return event_stream(feed, import_id, event="import", keep_alive_seconds=KEEP_ALIVE_SECONDS)
