"""Outgoing webhooks of all tenants: endpoints, deliveries, and sending one again."""

from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from app.api.session import Tx
from app.api.webhook_view import delivery_detail
from app.console.lists import Listing, Shown, shown
from app.console.records import DELIVERIES, ENDPOINTS, owner
from app.console.visit import HIDDEN, Acting, ConsoleRoute, Reading, Visit, Why, an_id, back
from app.operations.webhooks import redeliver
from app.webhooks import deliveries, endpoints

router = APIRouter(prefix="/webhooks", route_class=ConsoleRoute)

STATES = ("pending", "delivered", "failed", "cancelled")
LIST = Listing(
    path="/console/webhooks", statement=DELIVERIES, filters=("state",), hidden=("reason",)
)
OF_ENDPOINTS = Listing(
    path="/console/webhooks/endpoints",
    statement=ENDPOINTS,
    filters=("state",),
    hidden=("description",),
)
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def deliveries_page(
    visit: Reading, tx: Tx, tenant: Words = "", state: Words = "", before: Words = ""
) -> Response:
    """What was sent, the newest first."""
    found = _hosts(visit, shown(visit, tx, LIST, tenant=tenant, before=before, state=state))
    return visit.page("webhooks.html", tx, found=found, states=STATES)


@router.get("/endpoints")
def endpoints_page(
    visit: Reading, tx: Tx, tenant: Words = "", state: Words = "", before: Words = ""
) -> Response:
    """Where to, the newest first."""
    found = shown(visit, tx, OF_ENDPOINTS, tenant=tenant, before=before, state=state)
    states = ("enabled", "disabled")
    return visit.page("webhook-endpoints.html", tx, found=_hosts(visit, found), states=states)


@router.get("/{delivery_id}")
def delivery_page(delivery_id: str, visit: Reading, tx: Tx) -> Response:
    """One delivery, with each attempt."""
    return visit.page("webhook.html", tx, **_one(visit, tx, an_id(delivery_id, "webhook delivery")))


@router.post("/{delivery_id}/redeliver")
def send_again(delivery_id: str, visit: Acting, tx: Tx, reason: Why = "") -> Response:
    """At once, with all its attempts and the same webhook-id."""
    wanted = an_id(delivery_id, "webhook delivery")
    entry = redeliver(tx, visit.actor, wanted, reason=reason)
    return back(f"/console/webhooks/{wanted}", entry)


def _one(visit: Visit, tx: Connection, wanted: UUID) -> dict[str, Any]:
    tenant = owner(tx, "webhook delivery", wanted)
    one = delivery_detail(*deliveries.view(tx, tenant.id, wanted))
    endpoint = endpoints.load(tx, tenant.id, one.endpoint_id)
    return {
        "one": one,
        "reason": visit.hide(one.reason),
        "tenant": tenant,
        "endpoint": endpoint,
        "url": _shown_url(visit, endpoint.url),
        "data": one.data if visit.sees_data else None,
        "log": [visit.veil(each.model_dump(), "error", "excerpt") for each in one.log],
    }


def _hosts(visit: Visit, found: Shown) -> Shown:
    """Addresses may hold tokens: who doesn't see data sees the host alone."""
    for row in found.rows:
        row["url"] = row["url"] and _shown_url(visit, row["url"])
    return found


def _shown_url(visit: Visit, url: str) -> str:
    return url if visit.sees_data else f"{urlsplit(url).hostname}/{HIDDEN}"
