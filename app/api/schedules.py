"""Schedules: jobs by the clock, editable at any time."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from app.api.bodies import BoundedRoute
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.job_view import JobDetail
from app.api.jobs import ACCEPTED, answer_of, respond
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.schedule_view import ScheduleChange, ScheduleRequest, ScheduleView, view_of
from app.api.session import CatalogDep, CurrentTenant, Tx
from app.schedules import store

router = APIRouter(prefix="/v1", tags=["schedules"], route_class=BoundedRoute)

_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "Created.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where the schedule is."}
        },
    }
}


@router.post(
    "/schedules",
    status_code=201,
    response_model=ScheduleView,
    responses={**_CREATED, **describe(400, 409, 413, 422)},
)
def create_schedule(
    request: ScheduleRequest,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have a job enqueued whenever the cron expression comes round; the first time is the next one."""
    hashed = request_hash(request.model_dump(mode="json"))

    def make() -> Answer:
        new = store.NewSchedule(**request.model_dump())
        made = store.create(tx, tenant_id, catalog, new, public_only=True)
        return Answer(
            request_hash=hashed,
            status=201,
            location=f"/v1/schedules/{made}",
            body=view_of(store.load(tx, tenant_id, made)).model_dump(mode="json"),
        )

    return respond(answer_once(tx, tenant_id, "POST /v1/schedules", idempotency_key, hashed, make))


@router.get("/schedules", responses=describe(400, 422))
def list_schedules(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[ScheduleView]:
    """The tenant's schedules, newest first."""
    found = store.page(tx, tenant_id, before=decode_id_cursor(cursor), limit=limit + 1)
    return page_of([view_of(each) for each in found], lambda item: item.id, limit)


@router.get("/schedules/{schedule_id}", responses=describe(404, 422))
def get_schedule(schedule_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> ScheduleView:
    """One schedule, with its next five runs and its last one."""
    return view_of(store.load(tx, tenant_id, schedule_id))


@router.patch("/schedules/{schedule_id}", responses=describe(400, 404, 409, 413, 422))
def change_schedule(
    schedule_id: UUID,
    change: ScheduleChange,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
) -> ScheduleView:
    """Change what is sent, leave the rest. A new time, or the end of a pause, begins with the next slot. Only
    operators end a pause of theirs.
    """
    changes = change.model_dump(exclude_unset=True)
    store.edit(tx, tenant_id, schedule_id, catalog, changes, public_only=True)
    return view_of(store.load(tx, tenant_id, schedule_id))


@router.delete("/schedules/{schedule_id}", status_code=204, responses=describe(404, 409, 422))
def delete_schedule(schedule_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> None:
    """Delete it, unless an operator has paused it. Jobs that it has made go on."""
    store.delete(tx, tenant_id, schedule_id, public_only=True)


@router.post(
    "/schedules/{schedule_id}/run",
    status_code=202,
    response_model=JobDetail,
    responses={**ACCEPTED, **describe(400, 404, 409, 413, 422)},
)
def run_schedule(
    schedule_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Run its job once, now, beside its slots; also while it is paused, unless an operator has paused it."""
    operation = "POST /v1/schedules/{id}/run"
    hashed = request_hash(str(schedule_id))

    def make() -> Answer:
        job_id = store.run_now(tx, tenant_id, schedule_id, catalog, public_only=True)
        return answer_of(tx, tenant_id, job_id, hashed)

    return respond(answer_once(tx, tenant_id, operation, idempotency_key, hashed, make))
