"""Schedules of all tenants and the product's own: when they run next; run, pause, change."""

from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Response
from sqlalchemy import Connection, select

from app.api.session import CatalogDep, Tx
from app.console.visit import HIDDEN, Acting, ConsoleRoute, Reading, Visit, Why, an_id, back
from app.errors import NotFound
from app.keys import find_tenant
from app.models.schedules import Schedule as Row
from app.operations import schedules
from app.roles import Role
from app.schedules.catch_up import CatchUp
from app.schedules.store import Schedule, load, page

router = APIRouter(prefix="/schedules", route_class=ConsoleRoute)

SHOWN = 50
HERE = "/console/schedules"
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def schedules_page(visit: Reading, tx: Tx, tenant: Words = "", before: Words = "") -> Response:
    """The newest first, of all tenants or of one."""
    problem, found = "", []
    try:
        whose = find_tenant(tx, tenant.strip()) if tenant.strip() else None
        older = an_id(before, "schedule") if before else None
        found = page(tx, whose, before=older, limit=SHOWN + 1)
    except NotFound as missing:
        problem = str(missing)
    more = None
    if len(found) > SHOWN:
        more = f"{HERE}?" + urlencode({"tenant": tenant, "before": found[SHOWN - 1].id})
    return visit.page(
        "schedules.html", tx, schedules=found[:SHOWN], tenant=tenant, problem=problem, more=more
    )


@router.get("/{schedule_id}")
def schedule_page(schedule_id: str, visit: Reading, tx: Tx) -> Response:
    """One, with its next runs."""
    found = _load(tx, schedule_id)
    return visit.page("schedule.html", tx, schedule=_veiled(visit, found), choices=list(CatchUp))


@router.post("/{schedule_id}/run")
def run(schedule_id: str, visit: Acting, tx: Tx, catalog: CatalogDep, reason: Why = "") -> Response:
    """Once, now, beside its slots."""
    one = _load(tx, schedule_id)
    _, entry = schedules.run_now(tx, visit.actor, one.tenant_id, one.id, catalog, reason=reason)
    return back(f"{HERE}/{one.id}", entry)


@router.post("/{schedule_id}/pause")
def pause(
    schedule_id: str, visit: Acting, tx: Tx, catalog: CatalogDep, reason: Why = ""
) -> Response:
    """Fire no slot until it is resumed."""
    return _change(visit, tx, catalog, schedule_id, {"paused": True}, reason)


@router.post("/{schedule_id}/resume")
def resume(
    schedule_id: str, visit: Acting, tx: Tx, catalog: CatalogDep, reason: Why = ""
) -> Response:
    """Go on with the next slot."""
    return _change(visit, tx, catalog, schedule_id, {"paused": False}, reason)


@router.post("/{schedule_id}/change")
def change(
    schedule_id: str,
    visit: Acting,
    tx: Tx,
    catalog: CatalogDep,
    cron: Annotated[str, Form(max_length=200)],
    catch_up: Annotated[CatchUp, Form()],
    timezone: Annotated[str, Form(max_length=100)] = "",
    reason: Why = "",
) -> Response:
    """Another time, from the next slot on. An empty zone is the tenant's own."""
    visit.actor.require(Role.ADMIN)
    now = _load(tx, schedule_id)
    wanted: dict[str, Any] = {
        "cron": cron.strip(),
        "timezone": timezone.strip() or None,
        "catch_up": catch_up,
    }
    changes = {name: value for name, value in wanted.items() if value != getattr(now, name)}
    return _change(visit, tx, catalog, schedule_id, changes or wanted, reason)


def _change(
    visit: Visit,
    tx: Connection,
    catalog: Any,
    schedule_id: str,
    changes: dict[str, Any],
    reason: str,
) -> Response:
    one = _load(tx, schedule_id)
    entry = schedules.change(
        tx, visit.actor, one.tenant_id, one.id, catalog, changes, reason=reason
    )
    return back(f"{HERE}/{one.id}", entry)


def _load(tx: Connection, schedule_id: str) -> Schedule:
    """Whosever it is. Raises NotFound."""
    wanted = an_id(schedule_id, "schedule")
    tenant_id: UUID | None = tx.execute(
        select(Row.tenant_id).where(Row.id == wanted)
    ).scalar_one_or_none()
    if tenant_id is None:
        raise NotFound(f"There is no schedule {wanted}.")
    return load(tx, tenant_id, wanted)


def _veiled(visit: Visit, schedule: Schedule) -> Schedule:
    """Without the payload, for who doesn't see data."""
    if visit.sees_data:
        return schedule
    error = schedule.error and {**schedule.error, "message": HIDDEN}
    return replace(schedule, payload={}, error=error)
