"""Jobs: post one by its kind, and see what the ledger has."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError, model_validator
from sqlalchemy import Connection, text

from app.api.bodies import Body, BoundedRoute, Moment, Name
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.job_view import JobDetail, JobView, load_job, load_new_job, select_jobs, view_of
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CatalogDep, CurrentTenant, Tx
from app.broker.topology import Queue
from app.errors import Unprocessable
from app.ledger.contract import Catalog, JobContract
from app.ledger.enqueue import enqueue
from app.ledger.state import State
from app.ledger.uniqueness import Debounce, UniqueUntil
from app.models.jobs import Job

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=BoundedRoute)

OPERATION = "POST /v1/jobs"
MAX_AHEAD = timedelta(days=3660)
"""How far ahead a job's times may lie; those at the end of the calendar can't be read back."""
Seconds = Annotated[float, Field(gt=0, le=MAX_AHEAD.total_seconds(), allow_inf_nan=False)]
_NOW = text("SELECT clock_timestamp()")

ACCEPTED: Mapping[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to watch the job."}
        },
    }
}


class JobRequest(Body):
    """A job to be. The payload's shape is the kind's own."""

    kind: Annotated[Name, Field(examples=["report.daily"])]
    payload: Annotated[dict[str, Any], Field(default_factory=dict)]
    run_at: Annotated[
        Moment | None, Field(description="Not before; now if it is past or null.")
    ] = None
    deadline: Annotated[
        Moment | None,
        Field(description="No attempt begins after it: a job that still waits then is dead."),
    ] = None
    unique_key: Annotated[
        Name | None,
        Field(
            description="At most one job of a kind has it, for as long as that job is kept, or as "
            "`unique_for`, `unique_until` or `debounce` say: the answer is then that job, whatever its "
            "payload and state."
        ),
    ] = None
    unique_for: Annotated[
        Seconds | None, Field(description="The unique key lapses so many seconds after the post.")
    ] = None
    unique_until: Annotated[
        UniqueUntil | None,
        Field(
            description="The unique key lapses when the job is first handed to the workers "
            "(`published`), or when it has ended, in whatever way (`ended`)."
        ),
    ] = None
    debounce: Annotated[
        Seconds | None,
        Field(
            description="The job runs so many seconds after the newest post with its unique key, with "
            "that one's payload. A post after it was handed to the workers is a new job."
        ),
    ] = None
    debounce_max: Annotated[
        Seconds | None,
        Field(
            description="Not later than that after the first post; ten times `debounce` if null."
        ),
    ] = None
    concurrency_key: Annotated[
        Name | None,
        Field(
            description="Of the tenant's jobs with it, so many run at a time as the kind allows, one as a "
            "rule. It is in the place of the key that the kind makes of the payload."
        ),
    ] = None

    @property
    def newer_and_unset(self) -> set[str]:
        """Fields that a release added later: without them a request is what it was to the one before, and so
        is its hash.
        """
        newer = {"unique_for", "unique_until", "debounce", "debounce_max", "concurrency_key"}
        return newer - self.model_fields_set

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.debounce_max is not None and not 0 < (self.debounce or 0) <= self.debounce_max:
            raise ValueError("'debounce_max' is at least as long as 'debounce'.")
        windows = [self.unique_for, self.unique_until, self.debounce]
        if self.unique_key is None and any(window is not None for window in windows):
            raise ValueError("'unique_for', 'unique_until' and 'debounce' need a 'unique_key'.")
        if self.debounce is not None and [*windows[:2], self.run_at] != [None, None, None]:
            raise ValueError("Leave out 'run_at', 'unique_for' and 'unique_until' with 'debounce'.")
        return self


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobDetail,
    responses={**ACCEPTED, **describe(400, 413, 422)},
)
def create_job(
    request: JobRequest,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have a job done, now or at its time. Only public kinds; a 422 lists them."""
    hashed = request_hash(request.model_dump(mode="json", exclude=request.newer_and_unset))

    def make() -> Answer:
        return _make(tx, tenant_id, catalog, request, hashed)

    return respond(answer_once(tx, tenant_id, OPERATION, idempotency_key, hashed, make))


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
    after = decode_id_cursor(cursor)
    if after is not None:
        query = query.where(Job.id < after)
    rows = tx.execute(query.order_by(Job.id.desc()).limit(limit + 1)).all()
    return page_of([view_of(row) for row in rows], lambda job: job.id, limit)


@router.get("/jobs/{job_id}", responses=describe(404, 422))
def get_job(job_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> JobDetail:
    """One job with its history."""
    return load_job(tx, tenant_id, job_id)


def answer_of(tx: Connection, tenant_id: UUID, job_id: UUID, request: str = "") -> Answer:
    """202 with the job as it stands in this transaction."""
    return _answer(load_job(tx, tenant_id, job_id), request)


def respond(answer: Answer) -> JSONResponse:
    """The answer as a response."""
    return JSONResponse(
        answer.body, status_code=answer.status, headers={"Location": answer.location}
    )


def _make(
    tx: Connection, tenant_id: UUID, catalog: Catalog, request: JobRequest, hashed: str
) -> Answer:
    job = _job(catalog, request)
    run_at = _checked_times(tx, request)
    made = enqueue(
        tx,
        tenant_id,
        job,
        run_at=run_at,
        deadline=request.deadline,
        unique_key=request.unique_key,
        unique_for=request.unique_for,
        unique_until=request.unique_until,
        debounce=_debounce(request),
        concurrency_key=request.concurrency_key,
    )
    detail = load_new_job(tx, made.id) if made.created else load_job(tx, tenant_id, made.id)
    return _answer(detail, hashed)


def _debounce(request: JobRequest) -> Debounce | None:
    if request.debounce is None:
        return None
    return Debounce(seconds=request.debounce, max_seconds=request.debounce_max)


def _job(catalog: Catalog, request: JobRequest) -> JobContract:
    """The job of a public kind. Raises Unprocessable, and RequestValidationError for its payload."""
    contract = catalog.get(request.kind)
    if contract is None or not contract.spec.public:
        public = sorted(kind for kind, each in catalog.items() if each.spec.public)
        raise Unprocessable(
            f"There is no kind {request.kind!r} that can be posted. Use one of: "
            f"{', '.join(public) or '(none)'}.",
            code="unknown_kind",
        )
    try:
        return contract.model_validate(request.payload)
    except ValidationError as bad:
        raise RequestValidationError(
            [{**each, "loc": ("body", "payload", *each["loc"])} for each in bad.errors()]
        ) from None


def _answer(job: JobDetail, request: str) -> Answer:
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/jobs/{job.id}",
        body=job.model_dump(mode="json"),
    )


def _checked_times(tx: Connection, request: JobRequest) -> datetime | None:
    """Not before when; None is now. Raises Unprocessable for times that make no sense, by the database's
    clock.
    """
    if request.run_at is None and request.deadline is None:
        return None
    now: datetime = tx.execute(_NOW).scalar_one()
    latest = now + MAX_AHEAD
    if any(time and time > latest for time in (request.run_at, request.deadline)):
        raise Unprocessable(
            f"'run_at' and 'deadline' may be {MAX_AHEAD.days} days ahead at most.",
            code="too_far_ahead",
        )
    if request.deadline and request.deadline <= max(request.run_at or now, now):
        raise Unprocessable(
            f"'deadline' must be in the future and after 'run_at'; here it is {now.isoformat()}.",
            code="invalid_deadline",
        )
    return request.run_at if request.run_at and request.run_at > now else None
