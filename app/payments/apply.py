"""Apply an event to the subscription, exactly once in effect and in any order.

The rule: a subscription is what its newest events say, facet by facet.
- Standing (status, price, period): the newest of created, updated and deleted. Deleted is the end: nothing
  changes a deleted subscription but a newer deletion.
- Payment: the newest of invoice.paid and invoice.payment_failed.
- Newest is by the provider's `created`, which counts in seconds; within a second by the type's rank (created,
  updated, deleted; failed, paid), and then by the event's id, which is arbitrary but always the same.
Each facet keeps the key of the event that it is from, and an event with a lower one changes nothing.

Whose the customer is, an event says itself (`metadata.tenant_id` of the subscription or checkout session,
`client_reference_id` of the session); until one has, the customer's events wait, and are applied when it has.
The first link stays: an event that names another tenant is refused, for a person to look at.
"""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, text

from app.ids import SYSTEM_TENANT, new_id
from app.jobs import PaymentFailedMail
from app.ledger.enqueue import enqueue
from app.payments.events import enqueue_events
from app.payments.facts import RANKS, Envelope, Facts, Payment, read_envelope, read_facts
from app.payments.plan import GRANTING, follow_subscriptions

log = structlog.get_logger()

_LOAD = text("SELECT body FROM payment_events WHERE id = :id AND state = 'received'")
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('payments ' || :customer_id, 0))")
_TAKE = text("""
    SELECT mailed_at FROM payment_events WHERE id = :id AND state = 'received' FOR NO KEY UPDATE
""")
_MARK = text("""
    UPDATE payment_events
    SET state = :state, problem = :problem, tenant_id = coalesce(:tenant_id, tenant_id),
        applied_at = CASE WHEN :state = 'applied' THEN coalesce(applied_at, clock_timestamp()) END
    WHERE id = :id
""")
_LINKED = text("SELECT tenant_id FROM payment_customers WHERE customer_id = :customer_id")
_LINK = text("""
    INSERT INTO payment_customers (customer_id, tenant_id)
    SELECT :customer_id, id FROM tenants WHERE id = :hint AND id <> :system
    RETURNING tenant_id
""")
_RELEASE = text("""
    UPDATE payment_events SET state = 'received'
    WHERE customer_id = :customer_id AND state = 'waiting' AND id <> :id
    RETURNING id
""")
_OPEN = text("""
    INSERT INTO subscriptions (id, tenant_id, provider_id, customer_id)
    VALUES (:id, :tenant_id, :subscription_id, :customer_id)
    ON CONFLICT (provider_id) DO NOTHING
""")
_STAND = text("""
    UPDATE subscriptions
    SET status = :status, is_deleted = :is_deleted, plan = :plan, price_id = :price_id,
        quantity = :quantity, current_period_end = :current_period_end,
        cancel_at_period_end = :cancel_at_period_end, updated_at = clock_timestamp(),
        state_at = :at, state_rank = :rank, state_event = :event_id
    WHERE provider_id = :subscription_id AND is_deleted <= :is_deleted
      AND (is_deleted < :is_deleted OR state_at IS NULL
           OR (state_at, state_rank, state_event COLLATE "C") < (:at, :rank, :event_id))
""")
_GRANTED = text("""
    UPDATE subscriptions SET has_granted = true
    WHERE provider_id = :subscription_id AND NOT has_granted
""")
_PAY = text("""
    UPDATE subscriptions
    SET payment_status = :status, invoice_id = :invoice_id, amount_due_minor = :amount_due_minor,
        currency = :currency, hosted_invoice_url = :hosted_invoice_url,
        updated_at = clock_timestamp(),
        payment_at = :at, payment_rank = :rank, payment_event = :event_id
    WHERE provider_id = :subscription_id
      AND (payment_at IS NULL
           OR (payment_at, payment_rank, payment_event COLLATE "C") < (:at, :rank, :event_id))
""")
_STILL_FAILED = text("""
    SELECT payment_status = 'failed' OR invoice_id <> :invoice_id
    FROM subscriptions WHERE provider_id = :subscription_id
""")
_MAILED = text("UPDATE payment_events SET mailed_at = clock_timestamp() WHERE id = :id")


def apply_event(tx: Connection, event_id: UUID, *, job_id: UUID) -> str:
    """Apply it, if it is still to be; returns what became of it: `applied`, `waiting`, `ignored`,
    `refused`, or `gone` when it was done already. Events of one customer take turns.
    """
    body = tx.execute(_LOAD, {"id": event_id}).scalar_one_or_none()
    if body is None:
        return "gone"
    event = read_envelope(bytes(body))
    facts = read_facts(event)
    if facts is None:
        return _mark(tx, event_id, "ignored")
    tx.execute(_TAKE_TURNS, {"customer_id": facts.customer_id})
    taken = tx.execute(_TAKE, {"id": event_id}).one_or_none()
    if taken is None:
        return "gone"
    tenant_id = _tenant(tx, event_id, facts, job_id)
    if tenant_id is None:
        return _mark(tx, event_id, "waiting")
    if facts.tenant_hint not in {None, tenant_id}:
        log.warning("payment.other_tenant", event_id=event.event_id, tenant_id=str(tenant_id))
        problem = f"It names tenant {facts.tenant_hint}; the customer belongs to another."
        return _mark(tx, event_id, "refused", tenant_id=tenant_id, problem=problem)
    if facts.subscription_id is not None:
        _apply(tx, event, facts, tenant_id)
        _tell(tx, event_id, taken, facts, tenant_id, job_id)
    if facts.standing is not None:
        follow_subscriptions(tx, tenant_id)
    return _mark(tx, event_id, "applied", tenant_id=tenant_id)


def _tenant(tx: Connection, event_id: UUID, facts: Facts, job_id: UUID) -> UUID | None:
    """Whose the customer is. The event that says so first lets those that wait go on."""
    known: UUID | None = tx.execute(
        _LINKED, {"customer_id": facts.customer_id}
    ).scalar_one_or_none()
    if known is not None or facts.tenant_hint is None:
        return known
    linked: UUID | None = tx.execute(
        _LINK,
        {
            "customer_id": facts.customer_id,
            "hint": facts.tenant_hint,
            "system": SYSTEM_TENANT,
        },
    ).scalar_one_or_none()
    if linked is not None:
        released = tx.execute(_RELEASE, {"customer_id": facts.customer_id, "id": event_id})
        waiting = sorted(released.scalars())
        if waiting:
            enqueue_events(tx, waiting, parent_id=job_id)
    return linked


def _apply(tx: Connection, event: Envelope, facts: Facts, tenant_id: UUID) -> None:
    key: dict[str, Any] = {
        "at": event.created,
        "rank": RANKS[event.type],
        "event_id": event.event_id,
        "subscription_id": facts.subscription_id,
    }
    opened = {"id": new_id(), "tenant_id": tenant_id, "customer_id": facts.customer_id}
    tx.execute(_OPEN, {**key, **opened})
    if facts.standing is not None:
        tx.execute(_STAND, {**key, **asdict(facts.standing)})
        if facts.standing.status in GRANTING:
            tx.execute(_GRANTED, key)
    if facts.payment is not None:
        tx.execute(_PAY, {**key, **asdict(facts.payment)})


def _tell(
    tx: Connection,
    event_id: UUID,
    taken: Row[Any],
    facts: Facts,
    tenant_id: UUID,
    job_id: UUID,
) -> None:
    """Mail about a failed payment, once per event, unless that invoice is known to be paid by now."""
    payment = facts.payment
    if payment is None or payment.status != "failed" or taken.mailed_at is not None:
        return
    key = {"subscription_id": facts.subscription_id, "invoice_id": payment.invoice_id}
    if not tx.execute(_STILL_FAILED, key).scalar_one():
        return
    enqueue(tx, tenant_id, _mail(payment), parent_id=job_id)
    tx.execute(_MAILED, {"id": event_id})


def _mail(payment: Payment) -> PaymentFailedMail:
    return PaymentFailedMail(
        invoice_id=payment.invoice_id,
        amount_due_minor=payment.amount_due_minor,
        currency=payment.currency,
        hosted_invoice_url=payment.hosted_invoice_url,
    )


def _mark(
    tx: Connection,
    event_id: UUID,
    state: str,
    *,
    tenant_id: UUID | None = None,
    problem: str | None = None,
) -> str:
    facts = {"id": event_id, "state": state, "tenant_id": tenant_id, "problem": problem}
    tx.execute(_MARK, facts)
    return state
