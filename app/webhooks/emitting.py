"""Tell a tenant's endpoints that something has happened, in the transaction in which it happens."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import Conflict, NotFound
from app.ids import new_id
from app.jobs import WebhookDeliver
from app.ledger.enqueue import NewJob, enqueue_many
from app.webhooks.catalog import ALL, TEST, read_data

_SUBSCRIBED = text("""
    SELECT id FROM webhook_endpoints
    WHERE tenant_id = :tenant_id AND state = 'enabled'
      AND (jsonb_exists(events, :type) OR jsonb_exists(events, :all))
    ORDER BY id
""")
_STATE = text("SELECT state FROM webhook_endpoints WHERE id = :id AND tenant_id = :tenant_id")
_EVENT = text("""
    INSERT INTO webhook_events (id, tenant_id, type, data)
    VALUES (:id, :tenant_id, :type, CAST(:data AS jsonb))
""")
_DELIVERY = text("""
    INSERT INTO webhook_deliveries (id, tenant_id, event_id, endpoint_id, job_id)
    VALUES (:id, :tenant_id, :event_id, :endpoint_id, :job_id)
""")


def emit(tx: Connection, tenant_id: UUID, event_type: str, data: Mapping[str, Any]) -> UUID | None:
    """One event, and one delivery for each endpoint that is enabled and subscribed: they exist if and only
    if `tx` commits. Returns the event's id; None, and nothing written, when nobody listens.

    Raises ValueError for what is not in the catalog, whether somebody listens or not.
    """
    shown = read_data(event_type, data)
    found = tx.execute(_SUBSCRIBED, {"tenant_id": tenant_id, "type": event_type, "all": ALL})
    endpoints = list(found.scalars())
    if not endpoints:
        return None
    event_id, _ = _write(tx, tenant_id, event_type, shown, endpoints)
    return event_id


def emit_test(tx: Connection, tenant_id: UUID, endpoint_id: UUID) -> UUID:
    """A test event for that endpoint alone; returns the delivery's id. Raises NotFound and Conflict."""
    state = tx.execute(_STATE, {"id": endpoint_id, "tenant_id": tenant_id}).scalar_one_or_none()
    if state is None:
        raise NotFound(f"There is no webhook endpoint {endpoint_id}.")
    if state != "enabled":
        raise Conflict("The endpoint is disabled. Enable it first.", code="endpoint_disabled")
    shown = read_data(TEST, {"endpoint_id": endpoint_id})
    _, (delivery_id,) = _write(tx, tenant_id, TEST, shown, [endpoint_id])
    return delivery_id


def _write(
    tx: Connection,
    tenant_id: UUID,
    event_type: str,
    shown: dict[str, Any],
    endpoints: Sequence[UUID],
) -> tuple[UUID, list[UUID]]:
    event_id, deliveries = new_id(), [new_id() for _ in endpoints]
    tx.execute(
        _EVENT,
        {"id": event_id, "tenant_id": tenant_id, "type": event_type, "data": json.dumps(shown)},
    )
    jobs = enqueue_many(
        tx, tenant_id, [NewJob(job=WebhookDeliver(delivery_id=each)) for each in deliveries]
    )
    tx.execute(
        _DELIVERY,
        [
            {
                "id": delivery_id,
                "tenant_id": tenant_id,
                "event_id": event_id,
                "endpoint_id": endpoint_id,
                "job_id": job.id,
            }
            for delivery_id, endpoint_id, job in zip(deliveries, endpoints, jobs, strict=True)
        ],
    )
    return event_id, deliveries
