"""Batches: how far they are, and their cancel."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.api.bodies import BoundedRoute
from app.api.job_operations import CancelRequest
from app.api.jobs import ACCEPTED
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.ledger.progress import BatchFacts, load_batch, tenants_batches
from app.ledger.spreading import cancel_batch

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=BoundedRoute)


class BatchState(StrEnum):
    """Where a batch stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BatchProgress(BaseModel):
    """In jobs: `done` of `total` have ended, as `succeeded`, `dead` or `cancelled`. `waiting` ones are
    those that the window has no place for yet. `total` may grow until the batch is closed.
    """

    percent: float
    total: int
    done: int
    succeeded: int
    dead: int
    cancelled: int
    waiting: int


class BatchView(BaseModel):
    """Jobs that belong together. `failed`: one of them is dead; `cancelled`: it was cancelled, or one of
    them was. A replay of a dead job has it run again. `callbacks` are the jobs that followed its ends.
    """

    id: UUID
    name: str
    state: BatchState
    parent_id: UUID | None
    window: int | None
    closed: bool
    cancelling: bool
    progress: BatchProgress
    callbacks: list[UUID]
    created_at: datetime
    finished_at: datetime | None


@router.get("/batches", responses=describe(400, 422))
def list_batches(
    tenant_id: CurrentTenant,
    tx: Tx,
    state: Annotated[BatchState | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[BatchView]:
    """The tenant's batches, newest first."""
    before = decode_id_cursor(cursor)
    found = tenants_batches(
        tx, tenant_id, state=state and state.value, before=before, limit=limit + 1
    )
    return page_of([_view(one) for one in found], lambda batch: batch.id, limit)


@router.get("/batches/{batch_id}", responses=describe(404, 422))
def get_batch(batch_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> BatchView:
    """One batch with its progress. Its jobs: `GET /v1/jobs?batch_id=`."""
    return _view(load_batch(tx, tenant_id, batch_id))


@router.post(
    "/batches/{batch_id}/cancel",
    status_code=202,
    response_model=BatchView,
    responses={**ACCEPTED, **describe(400, 404, 409, 413, 422)},
)
def cancel(
    batch_id: UUID, tenant_id: CurrentTenant, tx: Tx, request: CancelRequest | None = None
) -> Response:
    """Cancel a batch that has not ended; for good, and safe to repeat. None of its jobs begins from now
    on; those that wait or run are cancelled within seconds, and then the batch is `cancelled`.
    """
    cancel_batch(tx, tenant_id, batch_id, reason=(request or CancelRequest()).reason)
    view = _view(load_batch(tx, tenant_id, batch_id))
    return JSONResponse(
        view.model_dump(mode="json"),
        status_code=202,
        headers={"Location": f"/v1/batches/{batch_id}"},
    )


def _view(facts: BatchFacts) -> BatchView:
    done = facts.total - facts.open
    share = done / facts.total if facts.total else float(facts.finished_at is not None)
    return BatchView(
        id=facts.id,
        name=facts.name,
        state=BatchState(facts.state),
        parent_id=facts.parent_id,
        window=facts.window,
        closed=facts.closed,
        cancelling=facts.cancelling,
        progress=BatchProgress(
            percent=round(100 * share, 1),
            total=facts.total,
            done=done,
            succeeded=facts.succeeded,
            dead=facts.dead,
            cancelled=facts.cancelled,
            waiting=facts.crowded_out,
        ),
        callbacks=facts.callback_ids,
        created_at=facts.created_at,
        finished_at=facts.finished_at,
    )
