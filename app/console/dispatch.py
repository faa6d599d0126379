"""Queues, kinds and tenants: what is paused or limited, and the buttons for that."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Response
from sqlalchemy import Connection

from app.api.queues import queue_views
from app.api.session import CatalogDep, Tx
from app.console.visit import Acting, ConsoleRoute, Reading, Why, back
from app.errors import NotFound
from app.keys import find_tenant
from app.ledger.depth import TenantLoad, tenant_load, top_tenants
from app.ledger.rules import Rules, Scope, load_rules
from app.operations import dispatch

router = APIRouter(prefix="/dispatch", route_class=ConsoleRoute)

SHOWN_TENANTS = 50
HERE = "/console/dispatch"


@router.get("")
def dispatch_page(
    visit: Reading,
    tx: Tx,
    catalog: CatalogDep,
    tenant: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """All queues and kinds; of the tenants those with the most work, the paused ones, and who is asked for."""
    rules = load_rules(tx)
    problem = ""
    try:
        loads = _loads(tx, rules, tenant.strip())
    except NotFound as missing:
        problem, loads = str(missing), []
    kinds = sorted({*catalog, *(name for scope, name in rules.by_name if scope is Scope.KIND)})
    return visit.page(
        "dispatch.html",
        tx,
        queues=[
            (view, rules.by_name.get((Scope.QUEUE, view.name.value)))
            for view in queue_views(tx, None)
        ],
        kinds=[(kind, catalog.get(kind), rules.by_name.get((Scope.KIND, kind))) for kind in kinds],
        tenants=[(load, rules.by_name.get((Scope.TENANT, str(load.tenant_id)))) for load in loads],
        asked=tenant,
        problem=problem,
    )


@router.post("/pause")
def pause(
    visit: Acting,
    tx: Tx,
    catalog: CatalogDep,
    scope: Annotated[Scope, Form()],
    name: Annotated[str, Form(max_length=255)],
    reason: Why = "",
) -> Response:
    """Send none of its jobs from now on."""
    entry = dispatch.pause(tx, visit.actor, catalog, scope, name, reason=reason)
    return back(HERE, entry)


@router.post("/resume")
def resume(
    visit: Acting,
    tx: Tx,
    catalog: CatalogDep,
    scope: Annotated[Scope, Form()],
    name: Annotated[str, Form(max_length=255)],
    reason: Why = "",
) -> Response:
    """Send them again."""
    entry = dispatch.resume(tx, visit.actor, catalog, scope, name, reason=reason)
    return back(HERE, entry)


def _loads(tx: Connection, rules: Rules, asked: str) -> list[TenantLoad]:
    """Raises NotFound for a tenant that is asked for and isn't there."""
    if asked:
        return [tenant_load(tx, find_tenant(tx, asked))]
    busy = top_tenants(tx, limit=SHOWN_TENANTS)
    shown = {load.tenant_id for load in busy}
    paused = [UUID(name) for name in rules.paused(Scope.TENANT)[:SHOWN_TENANTS]]
    return [*busy, *(tenant_load(tx, each) for each in paused if each not in shown)]
