"""The tenant's subscription, and the provider's events behind it."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import Row

from app.api.bodies import Body, BoundedRoute, Moment, Name
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.payments.events import Choice, page_of_events, replay_all
from app.payments.plan import current_subscription

router = APIRouter(prefix="/v1", tags=["payments"], route_class=BoundedRoute)


class PaymentView(BaseModel):
    """How the newest invoice went; the amount is in the currency's smallest unit."""

    status: Literal["paid", "failed"]
    invoice_id: str
    amount_due_minor: int
    currency: str
    hosted_invoice_url: str | None
    at: datetime


class Subscription(BaseModel):
    """A subscription of the provider's. `status` is null until an event has shown it."""

    id: str
    customer_id: str
    status: str | None
    plan: str | None
    price_id: str | None
    quantity: int | None
    current_period_end: datetime | None
    cancel_at_period_end: bool
    last_payment: PaymentView | None
    last_event_at: datetime | None


class SubscriptionView(BaseModel):
    """`plan` is what the tenant may use; `subscription` is null where there was never one."""

    plan: Literal["trial", "active", "expired"]
    trial_ends_at: datetime | None
    subscription: Subscription | None


class PaymentEventView(BaseModel):
    """An event of the provider's. `created` is the provider's time."""

    id: UUID
    event_id: str
    type: str
    created: datetime
    received_at: datetime
    applied_at: datetime | None
    state: Literal["received", "applied", "waiting", "ignored", "refused"]
    problem: str | None


class ReplayRequest(Body):
    """Which events: exactly one of the two."""

    event: Annotated[Name | None, Field(description="One event, by the provider's id.")] = None
    since: Annotated[Moment | None, Field(description="All that were received since.")] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.event is None) == (self.since is None):
            raise ValueError("Send either 'event' or 'since'.")
        return self


class Replayed(BaseModel):
    """So many will be applied again."""

    events: int


@router.get("/subscription", responses=describe(422))
def get_subscription(tenant_id: CurrentTenant, tx: Tx) -> SubscriptionView:
    """The tenant's plan and the subscription that it follows."""
    row = current_subscription(tx, tenant_id)
    return SubscriptionView(
        plan=row.tenant_plan,
        trial_ends_at=row.trial_ends_at,
        subscription=_view(row) if row.provider_id is not None else None,
    )


@router.get("/payment-events", responses=describe(400, 422))
def list_payment_events(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[PaymentEventView]:
    """What the provider has told about the tenant, the last received first."""
    rows = page_of_events(tx, tenant_id, before=decode_id_cursor(cursor), limit=limit + 1)
    items = [PaymentEventView.model_validate(row, from_attributes=True) for row in rows]
    return page_of(items, lambda item: item.id, limit)


@router.post("/payment-events/replay", status_code=202, responses=describe(400, 404, 413, 422))
def replay_payment_events(request: ReplayRequest, tenant_id: CurrentTenant, tx: Tx) -> Replayed:
    """Have stored events of the tenant applied again; safe to repeat: what was right stays as it is."""
    choice = Choice(tenant_id=tenant_id, event_id=request.event, since=request.since)
    return Replayed(events=replay_all(tx, choice))


def _view(row: Row[Any]) -> Subscription:
    payment = (
        PaymentView(
            status=row.payment_status,
            invoice_id=row.invoice_id,
            amount_due_minor=row.amount_due_minor,
            currency=row.currency,
            hosted_invoice_url=row.hosted_invoice_url,
            at=row.payment_at,
        )
        if row.payment_status is not None
        else None
    )
    return Subscription(
        id=row.provider_id,
        customer_id=row.customer_id,
        status=row.status,
        plan=row.plan,
        price_id=row.price_id,
        quantity=row.quantity,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        last_payment=payment,
        last_event_at=row.last_event_at,
    )
