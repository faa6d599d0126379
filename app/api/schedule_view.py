"""A schedule as the API takes and shows it."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from app.api.bodies import Body, Name
from app.ledger.state import State
from app.schedules.catch_up import CatchUp
from app.schedules.cron import MAX_CHARS
from app.schedules.store import Schedule

Cron = Annotated[
    str,
    Field(
        max_length=MAX_CHARS,
        description="minute hour day-of-month month day-of-week, such as `30 8 * * MON-FRI`.",
        examples=["0 8 * * *"],
    ),
]
TimeZone = Annotated[
    str | None,
    Field(
        max_length=100,
        description="IANA name; null is the tenant's own.",
        examples=["Europe/Berlin"],
    ),
]
Missed = Annotated[
    CatchUp,
    Field(
        description="What happens to slots that were missed by more than a minute: `none` skips them, "
        "`last` runs one job for the newest, `all` one for each."
    ),
]


class ScheduleRequest(Body):
    """A schedule to be."""

    name: Annotated[Name, Field(description="Unique in the tenant.")]
    kind: Annotated[Name, Field(examples=["report.daily"])]
    payload: Annotated[dict[str, Any], Field(default_factory=dict)]
    cron: Cron
    timezone: TimeZone = None
    catch_up: Missed = CatchUp.LAST
    paused: bool = False


class ScheduleChange(Body):
    """What is to change; what is not sent stays."""

    payload: dict[str, Any] | None = None
    cron: Cron | None = None
    timezone: TimeZone = None
    catch_up: Missed | None = None
    paused: bool | None = None

    @field_validator("payload", "cron", "catch_up", "paused")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("Leave it out to keep it as it is.")
        return value


class NextRun(BaseModel):
    """A slot to come: the same moment in UTC and on the clock of the schedule's zone."""

    at: datetime
    local: datetime


class LastRunView(BaseModel):
    """The newest job. `slot_at` is null when it was run by hand, `state` when the job has been pruned."""

    job_id: UUID
    slot_at: datetime | None
    state: State | None
    finished_at: datetime | None


class ScheduleProblem(BaseModel):
    """Why the schedule was paused, where its tenant didn't: `paused_by_operator`, or what is wrong with it."""

    code: str
    message: str


class ScheduleView(BaseModel):
    """A schedule. `timezone` is null where it follows the tenant; `effective_timezone` is what counts."""

    id: UUID
    name: str
    kind: str
    payload: dict[str, Any]
    cron: str
    timezone: str | None
    effective_timezone: str
    catch_up: CatchUp
    paused: bool
    paused_at: datetime | None
    error: ScheduleProblem | None
    next_runs: list[NextRun]
    last_run: LastRunView | None
    created_at: datetime
    updated_at: datetime


def view_of(schedule: Schedule) -> ScheduleView:
    """As of now."""
    return ScheduleView(
        id=schedule.id,
        name=schedule.name,
        kind=schedule.kind,
        payload=schedule.payload,
        cron=schedule.cron,
        timezone=schedule.timezone,
        effective_timezone=schedule.zone,
        catch_up=schedule.catch_up,
        paused=schedule.paused_at is not None,
        paused_at=schedule.paused_at,
        error=ScheduleProblem.model_validate(schedule.error) if schedule.error else None,
        next_runs=[NextRun(at=run.astimezone(UTC), local=run) for run in schedule.next_runs()],
        last_run=LastRunView.model_validate(schedule.last_run, from_attributes=True)
        if schedule.last_run
        else None,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )
