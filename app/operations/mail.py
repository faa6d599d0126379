"""Addresses that a tenant's mail doesn't go to."""

from uuid import UUID

from sqlalchemy import Connection

from app.mailing import suppressions
from app.operations.actor import Actor
from app.operations.audit import Thing, record
from app.roles import Role


def unsuppress(
    tx: Connection, actor: Actor, tenant_id: UUID, suppression_id: UUID, *, reason: str
) -> None:
    """Let mail go there again. Raises Forbidden, NotFound, Unprocessable."""
    actor.require(Role.OPERATOR)
    suppressions.remove(tx, tenant_id, suppression_id)
    thing = Thing(object="suppression", id=str(suppression_id), tenant_id=tenant_id)
    record(tx, actor, "suppression.remove", thing, reason=reason)
