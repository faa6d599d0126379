"""A tenant, and what it may: its days, its limits for imports, its budget for AI, how long its things are kept."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from app import keys
from app.ai import budget
from app.ids import SYSTEM_TENANT
from app.imports import limits
from app.operations.actor import Actor
from app.operations.audit import Thing, record
from app.roles import Role
from app.schedules.store import follow_tenant
from app.upkeep.kept import choose


def create(
    tx: Connection,
    actor: Actor,
    *,
    name: str,
    email: str,
    timezone: str,
    trial_days: int | None,
    reason: str,
) -> UUID:
    """As `app.keys.create_tenant`. For admins, as all of these. Raises Forbidden, and Unprocessable where the
    name is taken.
    """
    actor.require(Role.ADMIN)
    tenant_id = keys.create_tenant(
        tx, name=name, email=email, timezone=timezone, trial_days=trial_days
    )
    facts = {"timezone": timezone, "trial_days": trial_days}
    _record(tx, actor, "create", tenant_id, facts, reason=reason)
    return tenant_id


def set_timezone(
    tx: Connection, actor: Actor, tenant_id: UUID, timezone: str, *, reason: str
) -> None:
    """And move the schedules that follow it."""
    actor.require(Role.ADMIN)
    keys.set_timezone(tx, tenant_id, timezone)
    follow_tenant(tx, tenant_id)
    _record(tx, actor, "timezone", tenant_id, {"timezone": timezone}, reason=reason)


def set_import_limits(
    tx: Connection,
    actor: Actor,
    tenant_id: UUID,
    *,
    max_bytes: int | None,
    max_rows: int | None,
    max_open: int | None,
    reason: str,
) -> None:
    """None is the settings' default."""
    actor.require(Role.ADMIN)
    facts = {"max_bytes": max_bytes, "max_rows": max_rows, "max_open": max_open}
    limits.set_limits(tx, tenant_id, **facts)
    _record(tx, actor, "import_limits", tenant_id, facts, reason=reason)


def set_budget(
    tx: Connection, actor: Actor, tenant_id: UUID, amount: Decimal | None, *, reason: str
) -> None:
    """For a calendar month, in the currency of the prices; None is the settings' default."""
    actor.require(Role.ADMIN)
    budget.set_budget(tx, tenant_id, amount)
    facts = {"budget": None if amount is None else str(amount)}
    _record(tx, actor, "budget", tenant_id, facts, reason=reason)


def set_retention(
    tx: Connection,
    actor: Actor,
    tenant_id: UUID,
    days: Mapping[str, int | None],
    *,
    reason: str,
) -> None:
    """Of the system's tenant: for everyone without a choice of their own. `days` by what is kept, None is the
    default.
    """
    actor.require(Role.ADMIN)
    for what, kept in days.items():
        choose(tx, tenant_id, what, kept)
    _record(tx, actor, "retention", tenant_id, days, reason=reason)


def _record(
    tx: Connection,
    actor: Actor,
    action: str,
    tenant_id: UUID,
    facts: Mapping[str, Any],
    *,
    reason: str,
) -> None:
    owner = None if tenant_id == SYSTEM_TENANT else tenant_id
    thing = Thing(object="tenant", id=str(tenant_id), tenant_id=owner)
    record(tx, actor, f"tenant.{action}", thing, reason=reason, facts=facts)
