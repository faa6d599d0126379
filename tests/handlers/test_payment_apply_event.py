"""Payment events become the subscription, the plan and the mail, in whatever order they are applied."""

from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from app.payments import apply
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer, make_customer
from tests.support.payments import (
    START,
    apply_due,
    event,
    invoice,
    mails,
    plan_of,
    record,
    session,
    states,
    subscription,
    subscriptions,
)
from tests.support.runtime import Worker


def facets(engine: Engine) -> dict[str, tuple[Any, ...]]:
    return {
        name: (row.tenant_id, row.status, row.plan, row.price_id, row.quantity, row.payment_status)
        for name, row in subscriptions(engine).items()
    }


def test_a_subscription_comes_to_be(worker: Worker, engine: Engine, tenant: Customer) -> None:
    set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=days_ago(engine, -5))
    record(engine, event("customer.subscription.created", subscription(tenant_id=tenant.id)))
    assert apply_due(worker, engine) == 1
    row = subscriptions(engine)["sub_1"]
    assert (row.tenant_id, row.status, row.plan, row.price_id) == (
        tenant.id,
        "active",
        "pro",
        "price_pro",
    )
    assert int(row.current_period_end.timestamp()) == START + 2_592_000
    assert plan_of(engine, tenant.id) == "active"
    assert states(engine) == {"evt_1": "applied"}


STORY = [
    ("checkout.session.completed", None, 0),
    ("customer.subscription.created", "incomplete", 0),
    ("customer.subscription.updated", "active", 0),
    ("customer.subscription.updated", "past_due", 9),
    ("customer.subscription.deleted", "canceled", 9),
]


def test_the_order_makes_no_difference(worker: Worker, engine: Engine) -> None:
    """Also not where it is the session that says whose the customer is, and that comes last."""
    expected = {}
    for run, order in enumerate(list(permutations(range(5)))[::9]):
        tenant_id, customer, name = make_customer(engine).id, f"cus_{run}", f"sub_{run}"
        for n in order:
            kind, status, at = STORY[n]
            thing = (
                subscription(status, id=name, customer=customer)
                if status
                else session(tenant_id, customer=customer, subscription=name)
            )
            record(engine, event(kind, thing, at=at, id=f"evt_{run}_{n}"))
            if n % 2:  # or else together with the next
                apply_due(worker, engine)
        apply_due(worker, engine)
        assert plan_of(engine, tenant_id) == "expired"
        expected[name] = (tenant_id, "canceled", "pro", "price_pro", 3, None)
    assert facets(engine) == expected
    assert set(states(engine).values()) == {"applied"}


def test_deleted_is_the_end(worker: Worker, engine: Engine, tenant: Customer) -> None:
    gone = event("customer.subscription.deleted", subscription(tenant_id=tenant.id), at=1)
    later = event("customer.subscription.updated", subscription("active"), at=99, id="evt_2")
    record(engine, gone, later)
    apply_due(worker, engine)
    assert subscriptions(engine)["sub_1"].status == "canceled"
    assert plan_of(engine, tenant.id) == "expired"


def test_the_plan_is_active_while_any_subscription_is(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    kind = "customer.subscription."
    one, two = (
        subscription(id=f"sub_{n}", customer=f"cus_{n}", tenant_id=tenant.id) for n in (1, 2)
    )
    record(engine, event(kind + "created", one, id="a"), event(kind + "created", two, id="b"))
    record(engine, event(kind + "deleted", one, at=5, id="c"))
    apply_due(worker, engine)
    assert plan_of(engine, tenant.id) == "active"
    record(engine, event(kind + "deleted", two, at=6, id="d"))
    apply_due(worker, engine)
    assert plan_of(engine, tenant.id) == "expired"


def test_an_abandoned_checkout_leaves_the_trial_alone(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=days_ago(engine, -5))
    abandoned = subscription("incomplete_expired", tenant_id=tenant.id)
    record(engine, event("customer.subscription.updated", abandoned))
    apply_due(worker, engine)
    assert plan_of(engine, tenant.id) == "trial"


def test_a_failed_payment_is_told_once_and_not_when_it_was_paid_meanwhile(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    created = event("customer.subscription.created", subscription(tenant_id=tenant.id), id="a")
    failed = event("invoice.payment_failed", invoice(), at=1, id="b")
    record(engine, created, failed)
    apply_due(worker, engine)
    assert mails(engine) == [(tenant.id, "in_1")]
    paid_first = event("invoice.paid", invoice("in_2"), at=9, id="d")
    record(engine, paid_first, event("invoice.payment_failed", invoice("in_2"), at=8, id="c"))
    apply_due(worker, engine)
    assert mails(engine) == [(tenant.id, "in_1")]
    assert subscriptions(engine)["sub_1"].payment_status == "paid"


def test_an_unknown_customer_waits_and_is_found_by_a_later_event(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    record(engine, event("invoice.payment_failed", invoice(), id="a"))
    record(engine, event("customer.subscription.updated", subscription(), id="b"))
    apply_due(worker, engine)
    assert states(engine) == {"a": "waiting", "b": "waiting"}
    assert (subscriptions(engine), mails(engine)) == ({}, [])
    record(engine, event("checkout.session.completed", session(tenant.id), id="c"))
    apply_due(worker, engine)
    assert states(engine) == {"a": "applied", "b": "applied", "c": "applied"}
    assert mails(engine) == [(tenant.id, "in_1")]
    assert subscriptions(engine)["sub_1"].tenant_id == tenant.id


def test_a_customer_stays_whose_it_is(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    record(
        engine, event("customer.subscription.created", subscription(tenant_id=tenant.id), id="a")
    )
    apply_due(worker, engine)
    mine = subscription("canceled", tenant_id=stranger.id)
    record(engine, event("customer.subscription.updated", mine, at=5, id="b"))
    apply_due(worker, engine)
    assert states(engine) == {"a": "applied", "b": "refused"}
    row = subscriptions(engine)["sub_1"]
    assert (row.tenant_id, row.status) == (tenant.id, "active")


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("customer.created", {"id": "cus_1"}),
    ("charge.refunded", {"id": "ch_1", "customer": "cus_1"}),
    ("invoice.paid", {"id": "in_1", "customer": "cus_1"}),
    ("customer.subscription.updated", {"id": "sub_1", "customer": None}),
    ("customer.subscription.updated", {"id": ["sub"], "customer": "cus_1", "status": 5}),
    ("customer.subscription.updated", {"id": "s\x00", "customer": "cus_1", "status": "active"}),
]


def test_what_says_nothing_about_a_subscription_is_kept_and_ignored(
    worker: Worker, engine: Engine
) -> None:
    for n, (kind, thing) in enumerate(OTHERS):
        record(engine, event(kind, thing, id=f"evt_{n}"))
    apply_due(worker, engine)
    assert states(engine) == {f"evt_{n}": "ignored" for n in range(len(OTHERS))}
    assert subscriptions(engine) == {}


def test_an_older_version_of_the_api_is_read_too(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    thing = subscription(tenant_id=tenant.id) | {"current_period_end": START + 77}
    for item in thing["items"]["data"]:
        del item["current_period_end"]
    record(engine, event("customer.subscription.created", thing, id="a"))
    bill = invoice() | {"parent": None, "subscription": "sub_1"}
    record(engine, event("invoice.payment_failed", bill, at=1, id="b"))
    apply_due(worker, engine)
    row = subscriptions(engine)["sub_1"]
    assert int(row.current_period_end.timestamp()) == START + 77
    assert (row.payment_status, row.invoice_id) == ("failed", "in_1")


def test_all_that_an_event_changes_is_one_commit(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(
        engine, event("customer.subscription.created", subscription(tenant_id=tenant.id), id="a")
    )
    apply_due(worker, engine)
    record(engine, event("invoice.payment_failed", invoice(), at=1, id="b"))

    def broken(tx: Connection, *_: object) -> None:
        raise ConnectionError("half-way")

    with monkeypatch.context() as patch:
        patch.setattr(apply, "_tell", broken)
        from tests.support.payments import _due, requeue_and_deliver

        (job_id,) = _due(engine)
        requeue_and_deliver(worker, engine, job_id)
    assert states(engine)["b"] == "received"
    assert mails(engine) == []
    assert subscriptions(engine)["sub_1"].payment_status is None
    apply_due(worker, engine)
    assert mails(engine) == [(tenant.id, "in_1")]
    assert states(engine)["b"] == "applied"
