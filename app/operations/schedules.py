"""Schedules of any tenant and the product's own: add, run, pause, resume, change, delete."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from app.ledger.contract import Catalog
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role
from app.schedules import store


def add(
    tx: Connection,
    actor: Actor,
    tenant_id: UUID,
    catalog: Catalog,
    new: store.NewSchedule,
    *,
    reason: str,
) -> UUID:
    """As `app.schedules.store.create`; for admins. Returns its id. Raises Forbidden, Conflict, Unprocessable."""
    actor.require(Role.ADMIN)
    schedule_id = store.create(tx, tenant_id, catalog, new, public_only=False)
    facts = {"name": new.name, "kind": new.kind, "cron": new.cron}
    thing = _thing(tenant_id, schedule_id)
    record(tx, actor, "schedule.add", thing, reason=reason, facts=facts)
    return schedule_id


def change(
    tx: Connection,
    actor: Actor,
    tenant_id: UUID,
    schedule_id: UUID,
    catalog: Catalog,
    changes: dict[str, Any],
    *,
    reason: str,
) -> UUID:
    """As `app.schedules.store.edit`. Pausing and resuming is for operators, every other change for admins.
    Returns the entry in the audit log, which names the old time and the new one. Raises Forbidden, NotFound,
    Unprocessable.
    """
    only_pause = set(changes) == {"paused"}
    actor.require(Role.OPERATOR if only_pause else Role.ADMIN)
    why = checked_reason(reason) if changes.get("paused") else None
    before = store.load(tx, tenant_id, schedule_id)
    store.edit(tx, tenant_id, schedule_id, catalog, changes, public_only=False, why=why)
    action = "change"
    if only_pause:
        action = "pause" if changes["paused"] else "resume"
    facts: dict[str, Any] = {
        "changed": sorted(changes),
        **{
            name: [str(getattr(before, name)), str(changes[name])]
            for name in ("cron", "timezone", "catch_up")
            if name in changes
        },
    }
    thing = _thing(tenant_id, schedule_id)
    return record(tx, actor, f"schedule.{action}", thing, reason=reason, facts=facts)


def run_now(
    tx: Connection,
    actor: Actor,
    tenant_id: UUID,
    schedule_id: UUID,
    catalog: Catalog,
    *,
    reason: str,
) -> tuple[UUID, UUID]:
    """One job at once, beside the slots: its id, and the entry in the audit log. As above."""
    actor.require(Role.OPERATOR)
    checked_reason(reason)
    job_id = store.run_now(tx, tenant_id, schedule_id, catalog, public_only=False)
    facts = {"job_id": str(job_id)}
    thing = _thing(tenant_id, schedule_id)
    return job_id, record(tx, actor, "schedule.run", thing, reason=reason, facts=facts)


def delete(
    tx: Connection, actor: Actor, tenant_id: UUID, schedule_id: UUID, *, reason: str
) -> UUID:
    """Forget it; jobs that it has made go on. For admins."""
    actor.require(Role.ADMIN)
    name = store.load(tx, tenant_id, schedule_id).name
    store.delete(tx, tenant_id, schedule_id, public_only=False)
    thing = _thing(tenant_id, schedule_id)
    return record(tx, actor, "schedule.delete", thing, reason=reason, facts={"name": name})


def _thing(tenant_id: UUID, schedule_id: UUID) -> Thing:
    return Thing(object="schedule", id=str(schedule_id), tenant_id=tenant_id)
