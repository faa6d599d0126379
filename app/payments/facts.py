"""What an event says about a subscription, read from the provider's JSON of old and new API versions.

Everything in it is checked: an event that lacks what it needs says nothing, and is never half applied.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from app.errors import InvalidRequest

_ID = re.compile(r"[\w.:-]{1,255}", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
MAX_MINOR = 2**63 - 1

RANKS: Mapping[str, int] = {
    "customer.subscription.created": 0,
    "customer.subscription.updated": 1,
    "customer.subscription.deleted": 2,
    "invoice.payment_failed": 0,
    "invoice.paid": 1,
    "checkout.session.completed": 0,
}
"""The types that are applied. Of two events of one second the one of the higher rank is the newer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every event has."""

    event_id: str
    type: str
    created: datetime
    object: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A subscription as an event shows it."""

    status: str
    is_deleted: bool
    plan: str | None
    price_id: str | None
    quantity: int | None
    current_period_end: datetime | None
    cancel_at_period_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """How the collection of an invoice went; amounts in the currency's smallest unit."""

    status: Literal["paid", "failed"]
    invoice_id: str
    amount_due_minor: int
    currency: str
    hosted_invoice_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`tenant_hint` is who the event says that the customer is, where it does."""

    customer_id: str
    subscription_id: str | None
    tenant_hint: UUID | None
    standing: Standing | None = None
    payment: Payment | None = None


def read_envelope(body: bytes) -> Envelope:
    """Raises InvalidRequest for what is no event."""
    try:
        event = json.loads(body)
        event_id, kind = _id(event["id"]), _id(event["type"])
        created, thing = _moment(event["created"]), event["data"]["object"]
    except (ValueError, TypeError, KeyError, RecursionError):
        event_id = kind = created = thing = None
    if not event_id or not kind or created is None or not isinstance(thing, dict):
        raise InvalidRequest(
            "This is no snapshot event: it needs id, type, created and data.object.",
            code="invalid_event",
        )
    return Envelope(event_id=event_id, type=kind, created=created, object=thing)


def read_facts(event: Envelope) -> Facts | None:
    """None where the event is of no concern to subscriptions, or lacks what it would need."""
    thing = event.object
    customer = _id(_reference(thing.get("customer")))
    if event.type not in RANKS or customer is None:
        return None
    if event.type.startswith("customer.subscription."):
        return _of_subscription(thing, customer, is_deleted=event.type.endswith(".deleted"))
    if event.type.startswith("invoice."):
        return _of_invoice(thing, customer, is_paid=event.type == "invoice.paid")
    hint = _tenant(thing.get("client_reference_id")) or _hint(thing)
    subscription = _id(_reference(thing.get("subscription")))
    return Facts(customer_id=customer, subscription_id=subscription, tenant_hint=hint)


def _of_subscription(thing: dict[str, Any], customer: str, *, is_deleted: bool) -> Facts | None:
    subscription, status = _id(thing.get("id")), _id(thing.get("status"))
    if subscription is None or status is None:
        return None
    items = _items(thing)
    price = _mapping(items[0].get("price") or items[0].get("plan")) if items else {}
    ends = [_moment(each.get("current_period_end")) for each in (thing, *items)]
    standing = Standing(
        status="canceled" if is_deleted else status,
        is_deleted=is_deleted,
        plan=_id(price.get("lookup_key")) or _id(_reference(price.get("product"))),
        price_id=_id(price.get("id")),
        quantity=_number(items[0].get("quantity"), 2**31 - 1) if items else None,
        current_period_end=max((end for end in ends if end), default=None),
        cancel_at_period_end=thing.get("cancel_at_period_end") is True,
    )
    return Facts(
        customer_id=customer,
        subscription_id=subscription,
        tenant_hint=_hint(thing),
        standing=standing,
    )


def _of_invoice(thing: dict[str, Any], customer: str, *, is_paid: bool) -> Facts | None:
    details = _mapping(_mapping(thing.get("parent")).get("subscription_details"))
    subscription = _id(_reference(thing.get("subscription") or details.get("subscription")))
    invoice, currency = _id(thing.get("id")), _id(thing.get("currency"))
    amount = _number(thing.get("amount_due"), MAX_MINOR)
    if subscription is None or invoice is None or amount is None or amount < 0:
        return None
    if currency is None or not _CURRENCY.fullmatch(currency):
        return None
    url = thing.get("hosted_invoice_url")
    payment = Payment(
        status="paid" if is_paid else "failed",
        invoice_id=invoice,
        amount_due_minor=amount,
        currency=currency,
        hosted_invoice_url=url if isinstance(url, str) and _is_link(url) else None,
    )
    older = _mapping(thing.get("subscription_details"))
    return Facts(
        customer_id=customer,
        subscription_id=subscription,
        tenant_hint=_hint(details) or _hint(older),
        payment=payment,
    )


def _items(thing: dict[str, Any]) -> list[dict[str, Any]]:
    data = _mapping(thing.get("items")).get("data")
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _hint(thing: dict[str, Any]) -> UUID | None:
    return _tenant(_mapping(thing.get("metadata")).get("tenant_id"))


def _tenant(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _reference(value: object) -> object:
    """An id, or that of an object that was put in its place."""
    return value.get("id") if isinstance(value, dict) else value


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _is_link(url: str) -> bool:
    return url.startswith("https://") and len(url) <= 2000 and url.isascii() and url.isprintable()  # noqa: PLR2004


def _number(value: object, most: int) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= most
    return value if usable and isinstance(value, int) else None


def _moment(value: object) -> datetime | None:
    seconds = _number(value, MAX_MINOR)
    return (
        datetime.fromtimestamp(seconds, UTC)
        if seconds is not None and 0 <= seconds < _LATEST
        else None
    )
