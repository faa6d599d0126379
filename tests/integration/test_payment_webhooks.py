"""The provider's deliveries over HTTP: signed, kept byte for byte, once; and replayed from what was kept."""

import time
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from app.settings import Settings
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.payments import (
    SECRET,
    apply_due,
    body_of,
    deliver,
    event,
    invoice,
    mails,
    plan_of,
    record,
    signed,
    states,
    subscription,
    subscriptions,
)
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.web import Web, web_server
from workers import handlers  # noqa: F401 - they are registered by being imported

PATH = "/v1/webhooks/payments"
CREATED = "customer.subscription.created"
OLD_SECRET = "whsec_test_former"


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(database, payment_webhook_secrets=f"{SECRET}, {OLD_SECRET}")


@pytest.fixture
def provider(web: Web) -> Any:
    with web.client(None) as client:
        yield client


def test_an_event_is_kept_as_it_was_signed_with_the_job_that_applies_it(
    provider: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    told = event(CREATED, subscription(tenant_id=tenant.id))
    answer = deliver(provider, told)
    assert (answer.status_code, answer.json()) == (200, {"recorded": True})
    with engine.connect() as tx:
        row = tx.execute(text("SELECT * FROM payment_events")).one()
        job = tx.execute(text("SELECT kind, queue, payload FROM jobs")).one()
    assert bytes(row.body) == body_of(told)
    assert (row.event_id, row.type, row.customer_id, row.state) == (
        "evt_1",
        CREATED,
        "cus_1",
        "received",
    )
    assert (job.kind, job.queue, job.payload) == (
        "payment.apply_event",
        "high",
        {"event_id": str(row.id)},
    )


def test_a_second_delivery_is_200_and_nothing_else(provider: httpx.Client, engine: Engine) -> None:
    told = event(CREATED, subscription())
    assert [deliver(provider, told).json()["recorded"] for _ in range(3)] == [True, False, False]
    assert (count(engine, "payment_events"), count(engine, "jobs")) == (1, 1)


def test_the_former_secret_still_signs_and_any_other_does_not(
    provider: httpx.Client, engine: Engine
) -> None:
    told = event(CREATED, subscription())
    assert deliver(provider, told, secret=OLD_SECRET).status_code == 200
    assert_problem(deliver(provider, told, secret="whsec_x"), 400, "invalid_signature")


def test_a_clock_of_ours_that_is_off_refuses_no_event(
    provider: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, now = body_of(event(CREATED, subscription())), time.time()
    for hours in (2, -2):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda off=hours * 3600: now + off)
            answer = provider.post(PATH, content=body, headers=signed(body, at=int(now)))
            assert answer.status_code == 200, answer.text
            old = provider.post(PATH, content=body, headers=signed(body, at=int(now) - 400))
            assert_problem(old, 400, "invalid_signature")


def forged(case: str, body: bytes) -> tuple[bytes, dict[str, str]]:
    now = int(time.time())
    good = signed(body)
    return {
        "changed": (body + b" ", good),
        "unsigned": (body, {}),
        "empty": (body, {"stripe-signature": ""}),
        "no scheme": (body, {"stripe-signature": f"t={now}"}),
        "no time": (body, {"stripe-signature": good["stripe-signature"].partition(",")[2]}),
        "old": (body, signed(body, at=now - 301)),
        "time changed": (
            body,
            {"stripe-signature": f"t={now - 1},{good['stripe-signature'][13:]}"},
        ),
        "not ascii": (body, {"stripe-signature": "t=1,v1=\xe9"}),
        "not utf-8": (b"\xff" + body, good),
        "nonsense": (body, {"stripe-signature": "=,=,t=x,v1"}),
    }[case]


CASES = ("changed", "unsigned", "empty", "no scheme", "no time", "old", "time changed", "not ascii",
         "not utf-8", "nonsense")  # fmt: skip


def test_what_is_not_the_providers_is_refused_and_leaves_nothing(
    provider: httpx.Client, engine: Engine
) -> None:
    for case in CASES:
        body, headers = forged(case, body_of(event(CREATED, subscription())))
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        assert_problem(provider.post(PATH, content=body, headers=raw), 400, "invalid_signature")
        assert (count(engine, "payment_events"), count(engine, "jobs")) == (0, 0), case


NONSENSE = (
    b"",
    b"[]",
    b"{}",
    b'{"id": "e", "type": "t", "created": 1}',
    b"[" * 50_000,
    b'{"id": "e", "type": "t", "created": 1e400, "data": {"object": {}}}',
    b'{"id": "e\\u0000", "type": "t", "created": 1, "data": {"object": {}}}',
)


def test_signed_nonsense_is_refused(provider: httpx.Client, engine: Engine) -> None:
    for body in NONSENSE:
        answer = provider.post(PATH, content=body, headers=signed(body))
        assert_problem(answer, 400, "invalid_event")
    assert count(engine, "payment_events") == 0


def test_a_large_body_is_refused_before_it_is_looked_at(provider: httpx.Client) -> None:
    assert_problem(provider.post(PATH, content=b"x" * 300_000), 413, "too_large")


def test_without_the_database_the_provider_is_told_to_come_again(
    provider: httpx.Client, engine: Engine, servers: Servers, database: str
) -> None:
    told = event(CREATED, subscription())
    with servers.no_new_connections(database):
        answer = deliver(provider, told)
    assert_problem(answer, 503, "unavailable")
    assert "retry-after" in answer.headers
    assert deliver(provider, told).json() == {"recorded": True}


def test_without_a_secret_nothing_is_taken(settings: Settings) -> None:
    bare = settings.model_copy(update={"payment_webhook_secrets": ()})
    with web_server(bare) as web, web.client(None) as provider:
        assert_problem(deliver(provider, event(CREATED, {})), 503, "payments_not_set_up")


def test_secrets_are_not_shown(settings: Settings) -> None:
    assert SECRET not in repr(settings)


def test_the_tenant_sees_its_subscription_and_its_events(
    api: httpx.Client,
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    stranger: Customer,
    web: Web,
) -> None:
    nothing = {"plan": "active", "trial_ends_at": None, "subscription": None}
    assert api.get("/v1/subscription").json() == nothing
    record(engine, event(CREATED, subscription(tenant_id=tenant.id), id="a"))
    record(engine, event("invoice.payment_failed", invoice(), at=3, id="b"))
    apply_due(worker, engine)
    shown = api.get("/v1/subscription").json()["subscription"]
    assert (shown["id"], shown["status"], shown["plan"], shown["quantity"]) == (
        "sub_1",
        "active",
        "pro",
        3,
    )
    assert shown["last_payment"]["status"] == "failed"
    assert shown["last_payment"]["amount_due_minor"] == 2900
    listed = api.get("/v1/payment-events", params={"limit": 1}).json()
    assert [(each["event_id"], each["state"]) for each in listed["items"]] == [("b", "applied")]
    more = api.get("/v1/payment-events", params={"cursor": listed["next_cursor"]}).json()
    assert [each["event_id"] for each in more["items"]] == ["a"]
    with web.client(stranger.key) as other:
        assert other.get("/v1/subscription").json() == nothing
        assert other.get("/v1/payment-events").json()["items"] == []
        assert_problem(
            other.post("/v1/payment-events/replay", json={"event": "a"}), 404, "not_found"
        )


def test_a_replay_puts_right_what_was_lost_and_nothing_is_told_twice(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    record(engine, event(CREATED, subscription(tenant_id=tenant.id), id="a"))
    record(engine, event("invoice.payment_failed", invoice(), at=3, id="b"))
    record(engine, event("customer.subscription.updated", subscription("past_due"), at=4, id="c"))
    apply_due(worker, engine)
    before = subscriptions(engine)["sub_1"]
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM subscriptions"))
        tx.execute(text("UPDATE tenants SET plan = 'expired'"))
    answer = api.post("/v1/payment-events/replay", json={"since": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()) == (202, {"events": 3})
    assert apply_due(worker, engine) == 3
    after = subscriptions(engine)["sub_1"]
    same = (
        "status",
        "payment_status",
        "state_event",
        "payment_event",
        "current_period_end",
        "plan",
    )
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert plan_of(engine, tenant.id) == "active"
    assert mails(engine) == [(tenant.id, "in_1")]
    for wrong in ({}, {"event": "a", "since": "2026-01-01T00:00:00Z"}, {"since": "2026-01-01"}):
        assert_problem(api.post("/v1/payment-events/replay", json=wrong), 422, "invalid_parameters")


def test_the_operator_replays_from_the_command_line(
    worker: Worker, engine: Engine, tenant: Customer, environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from app.cli import app
    from app.settings import get_settings

    record(engine, event(CREATED, subscription(tenant_id=tenant.id), id="a"))
    record(engine, event("charge.refunded", {"customer": "cus_1"}, id="b"))
    apply_due(worker, engine)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    run = CliRunner().invoke
    assert "1 event will" in run(app, ["payments", "replay", "--event", "a"]).output
    assert states(engine)["a"] == "received"
    assert "2 events" in run(app, ["payments", "replay", "--since", "2026-01-01"]).output
    assert run(app, ["payments", "replay", "--event", "zz"]).exit_code == 1
    apply_due(worker, engine)
    assert states(engine) == {"a": "applied", "b": "ignored"}
    get_settings.cache_clear()
