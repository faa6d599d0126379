"""The payment provider: events in its shapes, signed with its library, delivered over HTTP."""

import json
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import Engine, Row, text
from stripe import WebhookSignature

from app.payments.events import record_event
from app.payments.facts import read_envelope
from tests.support.runtime import Worker

SECRET = "whsec_test_current"
START = 1_790_000_000


def event(
    kind: str,
    thing: dict[str, Any],
    *,
    at: int = 0,
    id: str = "evt_1",  # noqa: A002
) -> dict[str, Any]:
    """`at` seconds after the beginning of the story."""
    return {
        "id": id,
        "object": "event",
        "api_version": "2026-08-27.basil",
        "created": START + at,
        "type": kind,
        "livemode": False,
        "data": {"object": thing},
    }


def subscription(
    status: str = "active",
    *,
    id: str = "sub_1",  # noqa: A002
    customer: str = "cus_1",
    tenant_id: UUID | None = None,
    price: str = "price_pro",
    period_end: int = START + 2_592_000,
) -> dict[str, Any]:
    metadata = {} if tenant_id is None else {"tenant_id": str(tenant_id)}
    return {
        "id": id,
        "object": "subscription",
        "customer": customer,
        "status": status,
        "cancel_at_period_end": False,
        "metadata": metadata,
        "items": {
            "object": "list",
            "data": [
                {
                    "quantity": 3,
                    "current_period_end": period_end,
                    "price": {"id": price, "lookup_key": "pro", "product": "prod_1"},
                }
            ],
        },
    }


def invoice(
    id: str = "in_1",  # noqa: A002
    *,
    subscription: str = "sub_1",
    customer: str = "cus_1",
    due: int = 2900,
) -> dict[str, Any]:
    return {
        "id": id,
        "object": "invoice",
        "customer": customer,
        "amount_due": due,
        "currency": "eur",
        "hosted_invoice_url": f"https://invoice.example/{id}",
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": subscription},
        },
    }


def session(
    tenant_id: UUID, *, customer: str = "cus_1", subscription: str = "sub_1"
) -> dict[str, Any]:
    return {
        "id": f"cs_{customer}",
        "object": "checkout.session",
        "mode": "subscription",
        "customer": customer,
        "subscription": subscription,
        "client_reference_id": str(tenant_id),
    }


def body_of(told: dict[str, Any]) -> bytes:
    """Indented, as the provider does it: no body that was parsed and written again would fit."""
    return json.dumps(told, indent=2).encode()


def signed(body: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    header = WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=at)
    return {"stripe-signature": header, "content-type": "application/json"}


def deliver(client: httpx.Client, told: dict[str, Any], *, secret: str = SECRET) -> httpx.Response:
    body = body_of(told)
    return client.post("/v1/webhooks/payments", content=body, headers=signed(body, secret=secret))


def record(engine: Engine, *told: dict[str, Any]) -> None:
    """Delivered, without HTTP."""
    with engine.begin() as tx:
        for each in told:
            body = body_of(each)
            record_event(tx, read_envelope(body), body)


def apply_due(worker: Worker, engine: Engine) -> int:
    """Run the jobs that wait, and those that follow from them, the oldest first; how many."""
    done = 0
    while due := _due(engine):
        for job_id in due:
            requeue_and_deliver(worker, engine, job_id)
        done += len(due)
    return done


def requeue_and_deliver(worker: Worker, engine: Engine, job_id: UUID) -> None:
    from tests.support.jobs import requeue

    requeue(engine, job_id)
    worker.deliver(job_id)


def _due(engine: Engine) -> list[UUID]:
    query = text("""
        SELECT id FROM jobs WHERE kind = 'payment.apply_event' AND state = 'scheduled' ORDER BY id
    """)
    with engine.connect() as tx:
        return list(tx.execute(query).scalars())


def states(engine: Engine) -> dict[str, str]:
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT event_id, state FROM payment_events ORDER BY event_id"))
        return {row.event_id: row.state for row in rows}


def subscriptions(engine: Engine) -> dict[str, Row[Any]]:
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT * FROM subscriptions ORDER BY provider_id"))
        return {row.provider_id: row for row in rows}


def mails(engine: Engine) -> list[tuple[UUID, str]]:
    """Tenant and invoice of each mail about a failed payment."""
    query = text("""
        SELECT tenant_id, payload ->> 'invoice_id' FROM jobs
        WHERE kind = 'mail.payment_failed' ORDER BY id
    """)
    with engine.connect() as tx:
        return [tuple(row) for row in tx.execute(query)]


def plan_of(engine: Engine, tenant_id: UUID) -> str:
    with engine.connect() as tx:
        query = text("SELECT plan FROM tenants WHERE id = :id")
        return str(tx.execute(query, {"id": tenant_id}).scalar_one())
