"""Webhook deliveries of any tenant: sent again."""

from uuid import UUID

from sqlalchemy import Connection, select

from app.errors import NotFound
from app.models.webhooks import WebhookDelivery
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role
from app.webhooks import deliveries


def redeliver(tx: Connection, actor: Actor, delivery_id: UUID, *, reason: str) -> UUID:
    """As `app.webhooks.deliveries.redeliver`. Returns the entry in the audit log. Raises Forbidden, NotFound,
    Conflict, Unprocessable.
    """
    actor.require(Role.OPERATOR)
    checked_reason(reason)
    query = select(WebhookDelivery.tenant_id).where(WebhookDelivery.id == delivery_id)
    tenant_id = tx.execute(query).scalar_one_or_none()
    if tenant_id is None:
        raise NotFound(f"There is no webhook delivery {delivery_id}.")
    deliveries.redeliver(tx, tenant_id, delivery_id)
    thing = Thing(object="webhook_delivery", id=str(delivery_id), tenant_id=tenant_id)
    return record(tx, actor, "webhook.redeliver", thing, reason=reason)
