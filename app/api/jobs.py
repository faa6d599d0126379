"""Jobs: see what the ledger has. How they are posted: `app.api.job_posts`."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.api.bodies import BoundedRoute
from app.api.idempotency import Answer
from app.api.job_view import JobDetail, JobView, load_job, select_jobs, view_of
from app.api.pages import Cursor, Limit, Page, newest, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.broker.topology import Queue
from app.ledger.state import State
from app.models.jobs import Job

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=BoundedRoute)

ACCEPTED: Mapping[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to watch the job."}
        },
    }
}


@router.get("/jobs", responses=describe(400, 422))
def list_jobs(
    tenant_id: CurrentTenant,
    tx: Tx,
    state: Annotated[State | None, Query()] = None,
    kind: Annotated[str | None, Query()] = None,
    queue: Annotated[Queue | None, Query()] = None,
    parent_id: Annotated[UUID | None, Query(description="Jobs that this one began.")] = None,
    batch_id: Annotated[UUID | None, Query(description="Jobs of this batch.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[JobView]:
    """The tenant's jobs, newest first."""
    query = select_jobs(tenant_id)
    if state is not None:
        query = query.where(Job.state == state.value)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if queue is not None:
        query = query.where(Job.queue == queue.value)
    if parent_id is not None:
        query = query.where(Job.parent_id == parent_id)
    if batch_id is not None:
        query = query.where(Job.batch_id == batch_id)
    rows = newest(tx, query, Job.id, cursor, limit)
    return page_of([view_of(row) for row in rows], lambda job: job.id, limit)


@router.get("/jobs/{job_id}", responses=describe(404, 422))
def get_job(job_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> JobDetail:
    """One job with its history."""
    return load_job(tx, tenant_id, job_id)


def answer_of(tx: Connection, tenant_id: UUID, job_id: UUID, request: str = "") -> Answer:
    """202 with the job as it stands in this transaction."""
    return answer_with(load_job(tx, tenant_id, job_id), request)


def respond(answer: Answer) -> JSONResponse:
    """The answer as a response."""
    return JSONResponse(
        answer.body, status_code=answer.status, headers={"Location": answer.location}
    )


def answer_with(job: JobDetail, request: str) -> Answer:
    """202 with the job, of which `request` is the hash of what asked for it."""
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/jobs/{job.id}",
        body=job.model_dump(mode="json"),
    )
