"""What `POST /v1/jobs` takes, and the job that it means."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError, model_validator

from app.api.bodies import Body, Moment, Name
from app.api.idempotency import request_hash
from app.errors import Unprocessable
from app.ledger.contract import Catalog, JobContract
from app.ledger.enqueue import NewJob
from app.ledger.uniqueness import Debounce, UniqueUntil

MAX_AHEAD = timedelta(days=3660)
"""How far ahead a job's times may lie; those at the end of the calendar can't be read back."""
Seconds = Annotated[float, Field(gt=0, le=MAX_AHEAD.total_seconds(), allow_inf_nan=False)]


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

    @property
    def hashed(self) -> str:
        """See `request_hash`."""
        return request_hash(self.model_dump(mode="json", exclude=self.newer_and_unset))

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


def new_job(catalog: Catalog, request: JobRequest, now: Callable[[], datetime]) -> NewJob:
    """The job that is asked for. Raises Unprocessable, and RequestValidationError for its payload.

    `now` is the database's clock, and asked only about a request with times.
    """
    job = _job(catalog, request)
    if request.concurrency_key is not None and job.spec.affinity:
        raise Unprocessable(
            f"Jobs of kind {request.kind!r} have a key of their own. Leave out 'concurrency_key'.",
            code="key_of_its_own",
        )
    run_at = _checked_times(request, now)
    if job.makes_sense_from is not None:
        job.check_makes_sense(run_at or now())
    return NewJob(
        job=job,
        run_at=run_at,
        deadline=request.deadline,
        unique_key=request.unique_key,
        unique_for=request.unique_for,
        unique_until=request.unique_until,
        debounce=_debounce(request),
        concurrency_key=request.concurrency_key,
    )


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


def _checked_times(request: JobRequest, clock: Callable[[], datetime]) -> datetime | None:
    """Not before when; None is now. Raises Unprocessable for times that make no sense, by the database's
    clock.
    """
    if request.run_at is None and request.deadline is None:
        return None
    now = clock()
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
