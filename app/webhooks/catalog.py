"""What tenants may be told: every event type with the shape of its `data`. Fields are only ever added."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ALL = "*"
"""Subscribes to every type, also to those that are added later."""


class EventData(BaseModel):
    """Base of all: what isn't declared is a mistake of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImportCounts(EventData):
    """Rows of the file."""

    total: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


class ImportFinished(EventData):
    """An import has ended; `error` has a code and a message where it did not succeed."""

    import_id: UUID
    status: Literal["succeeded", "failed", "cancelled"]
    filename: str
    dry_run: bool
    counts: ImportCounts
    error: dict[str, Any] | None


class ExportReady(EventData):
    """A file can be fetched from `GET /v1/exports/{export_id}` until it expires."""

    export_id: UUID
    filename: str
    format: str
    rows: int
    bytes: int
    expires_at: datetime | None


class PlanChanged(EventData):
    """The tenant's plan is another one: a trial is over, a subscription began or ended."""

    plan: Literal["trial", "active", "expired"]


class EndpointDisabled(EventData):
    """One of the tenant's endpoints gets nothing any more, until it is enabled again."""

    endpoint_id: UUID
    url: str
    reason: Literal["gone", "failing"]


class Test(EventData):
    """Sent on request, to one endpoint."""

    endpoint_id: UUID


EVENTS: Mapping[str, type[EventData]] = MappingProxyType(
    {
        "import.finished": ImportFinished,
        "export.ready": ExportReady,
        "plan.changed": PlanChanged,
        "webhook_endpoint.disabled": EndpointDisabled,
    }
)
TEST = "webhook.test"


def read_data(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as JSON holds it. Raises ValueError for a type or a shape that is not in the catalog."""
    shape = Test if event_type == TEST else EVENTS.get(event_type)
    if shape is None:
        raise ValueError(f"there is no webhook event {event_type!r}")
    return shape.model_validate(data).model_dump(mode="json")
