"""Webhook endpoints and deliveries as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, field_validator
from sqlalchemy import Row

from app.api.bodies import Body, storable
from app.webhooks.catalog import ALL, EVENTS
from app.webhooks.endpoints import Endpoint

MAX_KEEP_SECONDS = 7 * 24 * 3600
DAY = 24 * 3600


def _known(events: list[str]) -> list[str]:
    known = [ALL, *EVENTS]
    if not events or not set(events) <= set(known):
        raise ValueError(f"Use one or more of: {', '.join(known)}.")
    return list(dict.fromkeys(events))


Events = Annotated[
    list[str],
    Field(
        max_length=100,
        description="Event types, or `*` for all, also those to come.",
        examples=[["import.finished"]],
    ),
    AfterValidator(_known),
]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="https, on the open internet. Redirects aren't followed.",
    ),
    AfterValidator(storable),
]
Description = Annotated[
    str, Field(max_length=500), AfterValidator(lambda text: text.replace("\0", ""))
]


class EndpointRequest(Body):
    """An endpoint to be."""

    url: Url
    events: Events
    description: Description = ""


class EndpointChange(Body):
    """What is to change; what is not sent stays. Enabling one forgets its past failures."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    state: Literal["enabled", "disabled"] | None = None

    @field_validator("*")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("Leave it out to keep it as it is.")
        return value


class RotateRequest(Body):
    """How long the secret of now goes on signing beside the new one."""

    keep_seconds: Annotated[int, Field(ge=0, le=MAX_KEEP_SECONDS)] = DAY


class EndpointView(BaseModel):
    """An endpoint. `disabled_reason` is `requested`, `gone` (it answered 410) or `failing`."""

    id: UUID
    url: str
    description: str
    events: list[str]
    state: Literal["enabled", "disabled"]
    disabled_reason: Literal["requested", "gone", "failing"] | None
    disabled_at: datetime | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime


class EndpointCreated(EndpointView):
    """With its signing secret, which is shown this once."""

    secret: str


class SecretView(BaseModel):
    """The new signing secret, which is shown this once."""

    secret: str
    previous_secret_until: datetime | None


class AttemptView(BaseModel):
    """One request. Without `status` and `error` it is under way, or its worker died; `excerpt` is the first
    KiB of the answer's body.
    """

    number: int
    at: datetime
    status: int | None
    error: str | None
    duration_ms: int | None
    excerpt: str | None


class DeliveryView(BaseModel):
    """One event to one endpoint; `webhook_id` is what the endpoint gets in its header."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    webhook_id: str
    type: str
    state: Literal["pending", "delivered", "failed", "cancelled"]
    reason: str | None
    attempts: int
    job_id: UUID
    happened_at: datetime
    created_at: datetime
    finished_at: datetime | None


class DeliveryDetail(DeliveryView):
    """With what was sent, and the newest hundred attempts, the last first."""

    data: dict[str, Any]
    log: list[AttemptView]


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    """As it stands."""
    return EndpointView.model_validate(endpoint, from_attributes=True)


def delivery_view(row: Row[Any]) -> DeliveryView:
    """For lists."""
    return DeliveryView.model_validate(_facts(row))


def delivery_detail(row: Row[Any], attempts: list[Row[Any]]) -> DeliveryDetail:
    """With its log."""
    log = [AttemptView.model_validate(each, from_attributes=True) for each in attempts]
    return DeliveryDetail(**_facts(row), log=log)


def _facts(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "webhook_id": f"msg_{row.event_id.hex}"}  # noqa: SLF001
