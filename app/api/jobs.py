"""Jobs as the ledger has them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import Row, select

from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.broker.topology import Queue
from app.errors import NotFound
from app.ledger.state import State
from app.models import Job, JobHistory

router = APIRouter(prefix="/v1", tags=["jobs"])


class JobError(BaseModel):
    """Why the last attempt didn't succeed."""

    code: str
    message: str


class JobProgress(BaseModel):
    """In the job's own unit; `total` is null when the job doesn't know it."""

    done: int
    total: int | None


class JobView(BaseModel):
    """A job. `attempt` counts the attempts begun so far."""

    id: UUID
    kind: str
    version: int
    queue: Queue
    state: State
    attempt: int
    max_attempts: int
    run_at: datetime
    parent_id: UUID | None
    unique_key: str | None
    progress: JobProgress | None
    error: JobError | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class HistoryEntry(BaseModel):
    """One change of state, and what brought it about."""

    at: datetime
    event: str
    from_state: State | None
    to_state: State
    attempt: int
    worker: str | None
    error: JobError | None


class JobDetail(JobView):
    """A job and its whole life, oldest first."""

    history: list[HistoryEntry]


@router.get("/jobs", responses=describe(400, 422))
def list_jobs(
    tenant_id: CurrentTenant,
    tx: Tx,
    state: Annotated[State | None, Query()] = None,
    kind: Annotated[str | None, Query()] = None,
    queue: Annotated[Queue | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[JobView]:
    """The tenant's jobs, newest first."""
    query = select(Job.__table__).where(Job.tenant_id == tenant_id)
    if state is not None:
        query = query.where(Job.state == state.value)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if queue is not None:
        query = query.where(Job.queue == queue.value)
    after = decode_id_cursor(cursor)
    if after is not None:
        query = query.where(Job.id < after)
    rows = tx.execute(query.order_by(Job.id.desc()).limit(limit + 1)).all()
    return page_of([JobView(**_facts(row)) for row in rows], lambda job: job.id, limit)


@router.get("/jobs/{job_id}", responses=describe(404, 422))
def get_job(job_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> JobDetail:
    """One job with its history."""
    row = tx.execute(
        select(Job.__table__).where(Job.id == job_id, Job.tenant_id == tenant_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    history = tx.execute(
        select(JobHistory.__table__).where(JobHistory.job_id == job_id).order_by(JobHistory.id)
    )
    return JobDetail(**_facts(row), history=[_entry(entry) for entry in history])


def _facts(row: Row[tuple[object, ...]]) -> dict[str, object]:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    done = facts.pop("progress_done")
    total = facts.pop("progress_total")
    facts["progress"] = None if done is None else {"done": done, "total": total}
    return facts


def _entry(row: Row[tuple[object, ...]]) -> HistoryEntry:
    facts = dict(row._mapping)  # noqa: SLF001
    return HistoryEntry(error=facts.pop("detail"), **facts)
