"""The tenant's plan follows its subscriptions, and what the tenant is shown of them."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, text

from app.webhooks.emitting import emit

GRANTING = ("trialing", "active", "past_due")
"""Statuses in which the service goes on; while a payment is past due the provider still tries."""

_TURN = text("SELECT plan FROM tenants WHERE id = :tenant_id FOR NO KEY UPDATE")
_FOLLOW = text("""
    WITH wanted AS (
        SELECT CASE WHEN bool_or(coalesce(status IN :granting, false)) THEN 'active'
                    WHEN bool_or(has_granted) THEN 'expired' END AS plan
        FROM subscriptions WHERE tenant_id = :tenant_id
    )
    UPDATE tenants SET plan = wanted.plan FROM wanted
    WHERE id = :tenant_id AND wanted.plan IS NOT NULL AND wanted.plan <> tenants.plan
    RETURNING tenants.plan
""").bindparams(bindparam("granting", expanding=True))
_CURRENT = text("""
    SELECT t.plan AS tenant_plan, t.trial_ends_at, s.*,
           greatest(s.state_at, s.payment_at) AS last_event_at
    FROM tenants t
    LEFT JOIN LATERAL (
        SELECT * FROM subscriptions WHERE tenant_id = t.id
        ORDER BY coalesce(status IN :granting, false) DESC, state_at DESC NULLS LAST, id DESC
        LIMIT 1
    ) s ON true
    WHERE t.id = :tenant_id
""").bindparams(bindparam("granting", expanding=True))


def follow_subscriptions(tx: Connection, tenant_id: UUID) -> None:
    """`active` while any subscription grants the service; `expired` when one did and none does any more.

    One that never came to be (an abandoned checkout) changes nothing: a trial goes on.
    """
    tx.execute(_TURN, {"tenant_id": tenant_id})
    changed = tx.execute(
        _FOLLOW, {"tenant_id": tenant_id, "granting": GRANTING}
    ).scalar_one_or_none()
    if changed is not None:
        emit(tx, tenant_id, "plan.changed", {"plan": changed})


def current_subscription(tx: Connection, tenant_id: UUID) -> Row[Any]:
    """The plan, and the subscription that counts: one that grants the service, or else the newest."""
    return tx.execute(_CURRENT, {"tenant_id": tenant_id, "granting": GRANTING}).one()
