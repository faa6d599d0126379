"""Dead letters as the API takes and shows them. Tracebacks and the broker's side are for operators."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from app.api.bodies import Body, Moment, Name, Reason
from app.api.job_view import JobError
from app.broker.topology import Queue
from app.ledger.letters import Letter
from app.ledger.replay import DeadFilter

IncidentState = Literal["open", "resolved", "ignored"]
LetterState = Literal["open", "replayed", "discarded"]
MAX_JOB_IDS = 1000
MAX_RATE = 10_000


class IncidentView(BaseModel):
    """The tenant's open dead letters of one cause. Count, times, message and the newest `jobs` are the
    tenant's own; `state` is what the operators have made of the cause.
    """

    id: UUID
    kind: str | None
    code: str
    error_type: str | None
    message: str
    state: IncidentState
    count: int
    first_seen: datetime
    last_seen: datetime
    jobs: list[UUID]


class LetterView(BaseModel):
    """One death of one job, after so many `attempts`. A letter that is not open was `closed_at`."""

    id: UUID
    job_id: UUID
    kind: str
    queue: Queue
    attempts: int
    error: JobError
    first_failed_at: datetime
    last_failed_at: datetime
    state: LetterState
    closed_at: datetime | None
    closed_reason: str | None


class Filter(Body):
    """Which dead jobs: all that fit every part. Discarded ones only by their own id."""

    all: Annotated[
        Literal[True] | None, Field(description="Every dead job; nothing else may be given.")
    ] = None
    job_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=MAX_JOB_IDS)] = None
    incident_id: UUID | None = None
    kind: Name | None = None
    queue: Queue | None = None
    code: Name | None = None
    died_after: Moment | None = None
    died_before: Moment | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        parts = self.model_dump(exclude={"all"}, exclude_none=True)
        if self.all is bool(parts) or (self.all is None and not parts):
            raise ValueError('Give a part of the filter, or {"all": true} and nothing else.')
        return self

    def of(self, tenant_id: UUID) -> DeadFilter:
        """As the ledger takes it, among the tenant's own."""
        return DeadFilter(
            tenant_id=tenant_id,
            job_ids=self.job_ids,
            incident_id=self.incident_id,
            kind=self.kind,
            queue=self.queue.value if self.queue else None,
            code=self.code,
            died_after=self.died_after,
            died_before=self.died_before,
        )


DryRun = Annotated[bool, Field(description="Only say what would be done.")]


class ReplayRequest(Body):
    """What to replay."""

    filter: Filter
    dry_run: DryRun = False
    rate: Annotated[
        float | None,
        Field(ge=0.001, le=MAX_RATE, description="Jobs a second at most; all at once if null."),
    ] = None


class DiscardRequest(Body):
    """What to discard, and why."""

    filter: Filter
    reason: Reason
    dry_run: DryRun = False


class SkippedJob(BaseModel):
    """A job that can't run again as things are."""

    job_id: UUID
    reason: str


class ReplayAnswer(BaseModel):
    """What was, or in a dry run would be, replayed: how many, how many of them after their payload was
    brought to the contract's version, and how long until the last one begins. `more` says that others
    fit the filter: send the request again.
    """

    dry_run: bool
    replayed: int
    by_kind: dict[str, int]
    upcast: int
    skipped: list[SkippedJob]
    seconds: float
    more: bool


class DiscardAnswer(BaseModel):
    """How many were, or in a dry run would be, discarded; `more` says that others may fit."""

    dry_run: bool
    discarded: int
    more: bool


def letter_view(letter: Letter) -> LetterView:
    """As of now."""
    return LetterView(
        id=letter.id,
        job_id=letter.job_id,
        kind=letter.kind,
        queue=letter.queue,
        attempts=letter.attempt,
        error=JobError.model_validate(letter.error),
        first_failed_at=letter.first_failed_at,
        last_failed_at=letter.last_failed_at,
        state=letter.state,
        closed_at=letter.closed_at,
        closed_reason=letter.closed_reason,
    )
