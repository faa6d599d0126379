"""Four thousand deliveries of five hundred events, shuffled and repeated, give the state that the events give
in their own order: told by a model that knows nothing of facets, keys and locks.
"""

import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.payments.apply import apply_event
from app.payments.events import record_event
from app.payments.facts import read_envelope
from tests.support.customers import make_customer
from tests.support.jobs import count
from tests.support.payments import (
    SECRET,
    body_of,
    deliver,
    event,
    invoice,
    mails,
    plan_of,
    session,
    states,
    subscription,
    subscriptions,
)
from tests.support.servers import Servers
from tests.support.web import Web

EVENTS, DELIVERIES, OVER_HTTP, AT_LAST = 500, 4_000, 100, 40
TENANTS, PER_TENANT = 10, 5
STATUSES = ("active", "past_due", "unpaid", "trialing", "paused")


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(database, payment_webhook_secrets=SECRET)


@dataclass
class Model:
    """What a reader of the events, who gets them in their order, would believe."""

    status: dict[str, str | None] = field(default_factory=dict)
    price: dict[str, str] = field(default_factory=dict)
    payment: dict[str, str] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    def see(self, told: dict[str, Any]) -> None:
        thing, kind = told["data"]["object"], told["type"]
        if kind == "checkout.session.completed":
            self.status.setdefault(thing["subscription"], None)
        elif kind.startswith("invoice."):
            name = thing["parent"]["subscription_details"]["subscription"]
            self.status.setdefault(name, None)
            self.payment[name] = "paid" if kind == "invoice.paid" else "failed"
        else:
            name = thing["id"]
            self.status[name] = "canceled" if kind.endswith("deleted") else thing["status"]
            self.price[name] = thing["items"]["data"][0]["price"]["id"]
            if self.status[name] in {"active", "past_due", "trialing"}:
                self.granted.add(name)

    def plan(self, names: list[str]) -> str:
        if any(self.status.get(name) in {"active", "past_due", "trialing"} for name in names):
            return "active"
        return "expired" if self.granted & set(names) else "active"


def life(rng: random.Random, tenant_id: UUID, name: str, length: int) -> list[dict[str, Any]]:
    """One subscription's events, in their order; several may share a second, as the provider's do."""
    customer, at = f"cus_{name}", rng.randrange(1000)
    told: list[dict[str, Any]] = []

    def tell(kind: str, thing: dict[str, Any]) -> None:
        told.append(event(kind, thing, at=at, id=f"evt_{name}_{len(told):03}"))

    tell("checkout.session.completed", session(tenant_id, customer=customer, subscription=name))
    tell(
        "customer.subscription.created",
        subscription("incomplete", id=name, customer=customer, price="price_0"),
    )
    for n in range(length - 3):
        at += rng.choice((0, 1, 60, 86_400)) if told[-1]["type"].endswith("updated") else 1
        if rng.random() < 0.3:
            kind = rng.choice(("invoice.paid", "invoice.payment_failed"))
            tell(kind, invoice(f"in_{name}_{n}", subscription=name, customer=customer))
        else:
            thing = subscription(
                rng.choice(STATUSES), id=name, customer=customer, price=f"price_{n}"
            )
            tell("customer.subscription.updated", thing)
    at += 1
    last = "deleted" if rng.random() < 0.4 else "updated"
    tell(f"customer.subscription.{last}", subscription("active", id=name, customer=customer))
    return told


def take(engine: Engine, bodies: list[bytes], rng: random.Random) -> None:
    """Record them and, in between and in any order, apply what is there."""
    for start in range(0, len(bodies), 400):
        with engine.begin() as tx:
            for body in bodies[start : start + 400]:
                record_event(tx, read_envelope(body), body)
        with engine.begin() as tx:
            query = text("SELECT id FROM payment_events WHERE state = 'received'")
            found = list(tx.execute(query).scalars())
        rng.shuffle(found)
        with engine.begin() as tx:
            for event_id in found[: len(found) // 2]:
                apply_event(tx, event_id, job_id=event_id)


def apply_rest(engine: Engine, rng: random.Random) -> None:
    query = text("SELECT id FROM payment_events WHERE state = 'received' ORDER BY id")
    while True:
        with engine.begin() as tx:
            found = list(tx.execute(query).scalars())
            rng.shuffle(found)
            for event_id in found:
                apply_event(tx, event_id, job_id=event_id)
        if not found:
            return


@pytest.mark.parametrize("seed", [20])
def test_shuffled_and_repeated_deliveries_give_the_state_of_the_events_in_order(
    web: Web, engine: Engine, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - dice, and the same ones each time
    tenants = [make_customer(engine).id for _ in range(TENANTS)]
    owned = {each: [f"sub_{t}_{n}" for n in range(PER_TENANT)] for t, each in enumerate(tenants)}
    length = EVENTS // (TENANTS * PER_TENANT)
    told = [
        each
        for tenant_id, names in owned.items()
        for name in names
        for each in life(rng, tenant_id, name, length)
    ]
    assert len(told) == EVENTS
    deliveries = told + rng.choices(told, k=DELIVERIES - EVENTS)
    rng.shuffle(deliveries)

    with web.client(None) as provider:
        answers = {deliver(provider, each).status_code for each in deliveries[:OVER_HTTP]}
    assert answers == {200}
    bodies = {each["id"]: body_of(each) for each in told}
    take(engine, [bodies[each["id"]] for each in deliveries[OVER_HTTP:-AT_LAST]], rng)
    apply_rest(engine, rng)
    with web.client(None) as provider:
        answers = {deliver(provider, each).status_code for each in deliveries[-AT_LAST:]}
    assert answers == {200}
    assert count(engine, "payment_events") == EVENTS

    model = Model()
    for each in sorted(told, key=lambda each: (each["created"], each["id"])):
        model.see(each)
    found = subscriptions(engine)
    assert {name: row.status for name, row in found.items()} == model.status
    assert {name: row.price_id for name, row in found.items()} == model.price
    assert {
        name: row.payment_status for name, row in found.items() if row.payment_status
    } == model.payment
    assert {each: plan_of(engine, each) for each in tenants} == {
        each: model.plan(names) for each, names in owned.items()
    }
    assert len(set(mails(engine))) == len(mails(engine)), "nobody is told of one invoice twice"
    assert set(states(engine).values()) == {"applied"}
