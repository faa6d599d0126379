"""Webhook endpoints and their delivery log over HTTP: by their tenant, and by nobody else."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.imports import lifecycle
from app.sealing import unseal
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.receiver import Receiver, answers, receiving
from tests.support.rows import a_chunk
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.web import Web, web_server
from tests.support.webhooks import deliveries, run_due
from workers import handlers  # noqa: F401 - they are registered by being imported

PATH = "/v1/webhook-endpoints"


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(
        database, outbound_allowed_networks="127.0.0.0/8", s3_bucket=f"t-{database[-20:]}"
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def made(api: httpx.Client, receiver: Receiver, **more: Any) -> dict[str, Any]:
    answer = api.post(PATH, json={"url": receiver.url(), "events": ["*"], **more})
    assert answer.status_code == 201, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


def test_an_endpoint_from_its_making_to_its_end(
    api: httpx.Client, receiver: Receiver, engine: Engine, settings: Settings
) -> None:
    endpoint = made(api, receiver, description="ours")
    own = f"{PATH}/{endpoint['id']}"
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert len(secret) == 50
    assert api.get(own).json() == endpoint
    assert api.get(PATH).json()["items"] == [endpoint]
    assert secret not in api.get(own).text + api.get(PATH).text
    changed = api.patch(own, json={"events": ["import.finished"], "state": "disabled"}).json()
    assert (changed["events"], changed["state"]) == (["import.finished"], "disabled")
    assert (changed["disabled_reason"], changed["description"]) == ("requested", "ours")
    long = receiver.url("/hook?sig=" + "a" * 400)  # chat systems give such
    assert api.patch(own, json={"url": long}).json()["url"] == long
    enabled = api.patch(own, json={"state": "enabled"}).json()
    assert (enabled["disabled_at"], enabled["disabled_reason"]) == (None, None)
    rotated = api.post(f"{own}/rotate-secret", json={"keep_seconds": 60}).json()
    assert rotated["secret"] != secret
    assert rotated["previous_secret_until"] is not None
    at_once = api.post(f"{own}/rotate-secret", json={"keep_seconds": 0}).json()
    assert at_once["previous_secret_until"] is None
    with engine.connect() as tx:
        kept = tx.execute(text("SELECT secret, previous_secret FROM webhook_endpoints")).one()
    assert at_once["secret"].encode() not in kept.secret
    opened = unseal(kept.secret, settings, owner=UUID(endpoint["id"]))
    assert (opened, kept.previous_secret) == (at_once["secret"], None)
    assert api.delete(own).status_code == 204
    assert_problem(api.get(own), 404, "not_found")
    assert count(engine, "webhook_endpoints") == 0


def test_the_secret_is_not_in_what_is_remembered(
    api: httpx.Client, receiver: Receiver, engine: Engine
) -> None:
    body = {"url": receiver.url(), "events": ["*"]}
    first, again = (api.post(PATH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.json()["secret"].startswith("(shown once")
    with engine.connect() as tx:
        kept = str(tx.execute(text("SELECT body FROM idempotency_keys")).scalar_one())
    assert first.json()["secret"] not in kept


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://10.0.0.1/hook"}, "address_refused"),
    ({"url": "https://169.254.169.254/latest/meta-data"}, "address_refused"),
    ({"url": "https://[::1]/hook"}, "address_refused"),
    ({"url": "https://[::ffff:127.0.0.1]/hook"}, "address_refused"),
    ({"url": "https://0.0.0.0/hook"}, "address_refused"),
    ({"url": "https://nowhere.invalid/hook"}, "name_unknown"),
    ({"url": "http://1.1.1.1/hook"}, "https_needed"),
    ({"url": "ftp://1.1.1.1/hook"}, "invalid_url"),
    ({"url": "https://user:secret@1.1.1.1/"}, "invalid_url"),
    ({"url": ""}, "invalid_parameters"),
    ({"url": "https://1.1.1.1/", "events": []}, "invalid_parameters"),
    ({"url": "https://1.1.1.1/", "events": ["no.such"]}, "invalid_parameters"),
    ({"url": "https://1.1.1.1/", "state": "enabled"}, "invalid_parameters"),
]


def test_what_would_not_be_called_is_refused(
    api: httpx.Client, receiver: Receiver, engine: Engine
) -> None:
    for wrong, code in REFUSED:
        assert_problem(api.post(PATH, json={"events": ["*"], **wrong}), 422, code)
    assert count(engine, "webhook_endpoints") == 0
    own = f"{PATH}/{made(api, receiver)['id']}"
    assert_problem(api.patch(own, json={"url": "https://10.0.0.1/"}), 422, "address_refused")
    assert_problem(api.patch(own, json={"url": None}), 422, "invalid_parameters")
    assert api.get(own).json()["url"] == receiver.url()


def test_loopback_is_refused_unless_the_operator_allows_it(
    settings: Settings, tenant: Customer, receiver: Receiver
) -> None:
    strict = settings.model_copy(update={"outbound_allowed_networks": ()})
    with web_server(strict) as web, web.client(tenant.key) as api:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            body = {"url": receiver.url(host=host, scheme="https"), "events": ["*"]}
            assert_problem(api.post(PATH, json=body), 422, "address_refused")


def test_there_are_so_many_endpoints_and_no_more(
    api: httpx.Client, receiver: Receiver, engine: Engine, tenant: Customer
) -> None:
    first = made(api, receiver)
    with engine.begin() as tx:
        tx.execute(
            text("""
                INSERT INTO webhook_endpoints (id, tenant_id, url, events, secret)
                SELECT gen_random_uuid(), tenant_id, url, events, secret
                FROM webhook_endpoints, generate_series(1, 49) WHERE id = :id
            """),
            {"id": first["id"]},
        )
    answer = api.post(PATH, json={"url": receiver.url(), "events": ["*"]})
    assert_problem(answer, 422, "too_many_endpoints")


def test_a_test_event_and_the_log_of_its_delivery(
    api: httpx.Client, worker: Worker, engine: Engine, receiver: Receiver
) -> None:
    endpoint = made(api, receiver, events=["import.finished"])
    sent = api.post(f"{PATH}/{endpoint['id']}/test")
    assert sent.status_code == 202
    own = sent.headers["location"]
    assert (sent.json()["state"], sent.json()["log"]) == ("pending", [])
    receiver.manners.append(answers(500, b"broken"))
    run_due(worker, engine)
    shown = api.get(own).json()
    assert (shown["type"], shown["state"], shown["attempts"]) == ("webhook.test", "pending", 1)
    assert shown["data"] == {"endpoint_id": endpoint["id"]}
    assert [(each["status"], each["excerpt"]) for each in shown["log"]] == [(500, "broken")]
    run_due(worker, engine)
    assert receiver.got[-1].headers["webhook-id"] == shown["webhook_id"]
    assert api.get(own).json()["state"] == "delivered"
    again = api.post(f"{own}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    run_due(worker, engine)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert [each["number"] for each in api.get(own).json()["log"]] == [3, 2, 1]
    for query, found in (
        ({"state": "delivered"}, 1),
        ({"state": "failed"}, 0),
        ({"endpoint": endpoint["id"]}, 1),
        ({"endpoint": deliveries(engine)[0].id}, 0),
    ):
        assert len(api.get("/v1/webhook-deliveries", params=query).json()["items"]) == found
    api.patch(f"{PATH}/{endpoint['id']}", json={"state": "disabled"})
    assert_problem(api.post(f"{own}/redeliver"), 409, "endpoint_disabled")
    assert_problem(api.post(f"{PATH}/{endpoint['id']}/test"), 409, "endpoint_disabled")


def test_a_stranger_sees_and_does_nothing(
    api: httpx.Client, web: Web, stranger: Customer, receiver: Receiver, engine: Engine
) -> None:
    endpoint = made(api, receiver)
    own = f"{PATH}/{endpoint['id']}"
    sent = api.post(f"{own}/test").headers["location"]
    with web.client(stranger.key) as other:
        answers_ = [
            other.get(own),
            other.patch(own, json={"state": "disabled"}),
            other.post(f"{own}/rotate-secret"),
            other.post(f"{own}/test"),
            other.delete(own),
            other.get(sent),
            other.post(f"{sent}/redeliver"),
        ]
        for answer in answers_:
            assert_problem(answer, 404, "not_found")
        assert other.get(PATH).json()["items"] == []
        assert other.get("/v1/webhook-deliveries").json()["items"] == []
    assert api.get(own).json()["state"] == "enabled"
    assert count(engine, "webhook_deliveries") == 1


def test_an_import_that_ends_is_told_in_the_same_commit(
    api: httpx.Client, engine: Engine, receiver: Receiver, tenant: Customer, storage: Storage
) -> None:
    made(api, receiver, events=["import.finished"])
    import_id = a_chunk(engine, tenant.id).import_id
    error = {"code": "too_many", "message": "Too many rows."}
    with engine.connect() as tx:
        lifecycle.end(tx, import_id, status="failed", error=error)
        tx.rollback()
    assert deliveries(engine) == []
    with engine.begin() as tx:
        lifecycle.end(tx, import_id, status="failed", error=error)
        lifecycle.end(tx, import_id, status="succeeded")
    (delivery,) = deliveries(engine)
    shown = api.get(f"/v1/webhook-deliveries/{delivery.id}").json()
    counts = dict.fromkeys(("total", "inserted", "updated", "unchanged", "rejected"), 0)
    assert shown["data"] == {
        "import_id": str(import_id),
        "status": "failed",
        "filename": "rows.csv",
        "dry_run": False,
        "counts": counts,
        "error": error,
    }
