"""Ordering an export over HTTP, and fetching it."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.settings import Settings
from app.storage import Storage
from tests.support.clock import set_columns
from tests.support.customers import Customer
from tests.support.exports import (
    add_contacts,
    add_many,
    order,
    published,
    run_export,
    run_jobs,
    tiny_parts,
)
from tests.support.jobs import job_facts
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web, web_server

ORDER = {"target": "contacts", "format": "csv"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_EXPORT_MAX_OPEN": "2"}


@pytest.fixture
def linked(settings: Settings, storage: Storage, tenant: Customer) -> Iterator[httpx.Client]:
    """A client of a web process that knows where clients reach the store."""
    outside = settings.model_copy(update={"s3_public_endpoint_url": settings.s3_endpoint_url})
    with web_server(outside) as served, served.client(tenant.key) as client:
        yield client


def finished(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer, **wanted: Any
) -> dict[str, Any]:
    """A finished export of one contact, as the API shows it."""
    add_contacts(engine, tenant.id, {"email": "a@example.com", "company": "=1+1"})
    answer = api.post("/v1/exports", json={**ORDER, **wanted})
    assert answer.status_code == 202
    run_export(worker, engine)
    shown: dict[str, Any] = api.get(answer.headers["Location"]).json()
    return shown


def test_from_order_to_file(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    add_contacts(engine, tenant.id, {"email": "a@example.com", "company": "=1+1"})
    answer = api.post("/v1/exports", json={**ORDER, "columns": ["email", "company"]})
    assert answer.status_code == 202
    where, ordered = answer.headers["Location"], answer.json()
    assert where == f"/v1/exports/{ordered['id']}"
    assert (ordered["status"], ordered["download"], ordered["rows"]) == ("queued", None, None)
    assert ordered["wanted"] == {"filter": {}, "columns": ["email", "company"]}
    early = api.get(f"{where}/download")
    assert_problem(early, 409, "export_not_ready")
    run_export(worker, engine)
    shown = api.get(where).json()
    assert (shown["status"], shown["rows"], shown["expired"]) == ("succeeded", 1, False)
    assert shown["progress"] == {"percent": 100.0, "rows_done": 1, "rows_total": 1}
    kept = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(
        shown["finished_at"]
    )
    assert abs(kept - timedelta(days=7)) < timedelta(seconds=1)
    file = api.get(shown["download"], follow_redirects=False)
    assert file.status_code == 200
    assert file.content == b"email,company\r\na@example.com,'=1+1\r\n"
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert int(file.headers["content-length"]) == shown["bytes"]
    assert file.headers["content-disposition"] == f'attachment; filename="{shown["filename"]}"'
    assert shown["filename"] == f"contacts-{datetime.now(UTC).date()}.csv"


def test_a_link_to_the_store_needs_no_key_and_names_the_file(
    api: httpx.Client, linked: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    shown = finished(api, worker, engine, tenant, columns=["email"])
    answer = linked.get(shown["download"], follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-store"
    link = answer.headers["location"]
    assert "X-Amz-Expires=300" in link
    file = httpx.get(link, trust_env=False)
    assert (file.status_code, file.content) == (200, b"email\r\na@example.com\r\n")
    spoilt = httpx.get(link.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"), trust_env=False)
    assert spoilt.status_code == 403


def test_what_has_expired_is_gone(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    shown = finished(api, worker, engine, tenant)
    past = datetime.now(UTC) - timedelta(seconds=1)
    set_columns(engine, "exports", UUID(shown["id"]), expires_at=past)
    late = api.get(shown["download"])
    assert_problem(late, 410, "export_expired")
    assert "Order it again" in late.json()["detail"]
    shown = api.get(f"/v1/exports/{shown['id']}").json()
    assert (shown["expired"], shown["download"]) == (True, None)


def test_another_tenants_export_is_not_there(
    api: httpx.Client,
    web: Web,
    stranger: Customer,
    worker: Worker,
    engine: Engine,
    tenant: Customer,
) -> None:
    shown = finished(api, worker, engine, tenant)
    with web.client(stranger.key) as theirs:
        for path in ("", "/download"):
            assert_problem(theirs.get(f"/v1/exports/{shown['id']}{path}"), 404, "not_found")
        assert_problem(theirs.post(f"/v1/exports/{shown['id']}/cancel"), 404, "not_found")
        assert theirs.get("/v1/exports").json()["items"] == []


def test_the_same_key_orders_once(api: httpx.Client, engine: Engine) -> None:
    headers = {"Idempotency-Key": "monday"}
    first = api.post("/v1/exports", json=ORDER, headers=headers)
    again = api.post("/v1/exports", json=ORDER, headers=headers)
    assert again.json() == first.json()
    other = api.post("/v1/exports", json={**ORDER, "format": "xlsx"}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM exports")).scalar_one() == 1


def test_only_so_many_at_once(api: httpx.Client, worker: Worker, engine: Engine) -> None:
    for _ in range(2):
        assert api.post("/v1/exports", json=ORDER).status_code == 202
    refused = api.post("/v1/exports", json=ORDER)
    assert_problem(refused, 429, "too_many_exports")
    assert int(refused.headers["retry-after"]) > 0
    first = api.get("/v1/exports").json()["items"][-1]
    assert api.post(f"/v1/exports/{first['id']}/cancel").status_code == 202
    assert api.post("/v1/exports", json=ORDER).status_code == 202


def test_cancel(api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer) -> None:
    export_id = order(engine, tenant.id)
    job_id = published(engine)
    for _ in range(2):
        answer = api.post(f"/v1/exports/{export_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert job_facts(engine, job_id).state == "cancelled"
    worker.deliver(job_id)
    shown = api.get(f"/v1/exports/{export_id}").json()
    assert (shown["status"], shown["error"]["code"]) == ("cancelled", "cancelled")
    assert_problem(api.get(f"/v1/exports/{export_id}/download"), 409, "export_not_ready")


def test_an_export_in_parts_shows_them_and_is_cancelled_with_them(
    api: httpx.Client,
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_parts(monkeypatch)
    add_many(engine, tenant.id, 2_000, padding=64)
    export_id = order(engine, tenant.id)
    run_jobs(worker, engine)
    shown = api.get(f"/v1/exports/{export_id}").json()
    assert (shown["status"], shown["rows"], shown["sha256"]) == ("succeeded", 2_000, None)
    file = io.BytesIO(api.get(shown["download"]).content)
    for part in shown["parts"]:
        assert sha256(file.read(part["bytes"])).hexdigest() == part["sha256"]
    assert (file.read(), file.tell()) == (b"", shown["bytes"])
    export_id = order(engine, tenant.id)
    worker.deliver(published(engine))
    for _ in range(2):
        answer = api.post(f"/v1/exports/{export_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    with engine.connect() as tx:
        states = "SELECT cancelled_at IS NOT NULL FROM batches WHERE name = :name"
        name = {"name": f"export {export_id}"}
        assert tx.execute(text(states), name).scalar_one() is True


def test_what_has_succeeded_is_not_cancelled(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    shown = finished(api, worker, engine, tenant)
    assert_problem(api.post(f"/v1/exports/{shown['id']}/cancel"), 409, "conflict")


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "tenants"},
        {"target": "api_keys"},
        {"format": "pdf"},
        {"format": "exe"},
        {"columns": []},
        {"columns": ["email", "email"]},
        {"columns": ["tenant_id"]},
        {"columns": ['email" FROM contacts; DROP TABLE contacts; --']},
        {"target": "products", "filter": {"attributes": {"a": "b"}}},
        {"filter": {"created_from": "2026-01-01T00:00:00"}},
        {"filter": {"attributes": {"a\u0000": "b"}}},
        {"filter": {"where": "1=1"}},
        {"rows": 5},
    ],
)
def test_what_can_not_be_ordered(api: httpx.Client, engine: Engine, wrong: dict[str, Any]) -> None:
    answer = api.post("/v1/exports", json={**ORDER, **wrong})
    assert_problem(answer, 422, "invalid_parameters")
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 0


@pytest.mark.parametrize("wrong", ["pdf", "exe"])
def test_a_wrong_format_is_told_what_there_is(api: httpx.Client, wrong: str) -> None:
    (fault,) = api.post("/v1/exports", json={**ORDER, "format": wrong}).json()["errors"]
    assert (fault["field"], "'csv', 'xlsx' or 'parquet'" in fault["message"]) == (
        "body.format",
        True,
    )
    assert "pdf" not in fault["message"]


def test_values_of_a_filter_are_values(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """Whatever they look like to SQL."""
    words = {"a' OR '1'='1": "x'; DROP TABLE contacts; --", "%s {} \\": "%(a)s"}
    add_contacts(engine, tenant.id, {"email": "odd@example.com", "attributes": words})
    shown = finished(api, worker, engine, tenant, filter={"attributes": words}, columns=["email"])
    assert shown["rows"] == 1
    assert api.get(shown["download"]).content == b"email\r\nodd@example.com\r\n"


def test_the_list_goes_page_by_page(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    made = [
        str(order(engine, tenant.id, target=one)) for one in ("contacts", "products", "contacts")
    ]
    first = api.get("/v1/exports", params={"limit": 2}).json()
    rest = api.get("/v1/exports", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in [*first["items"], *rest["items"]]] == made[::-1]
    assert rest["next_cursor"] is None
    (only,) = api.get("/v1/exports", params={"target": "products"}).json()["items"]
    assert only["id"] == made[1]
    assert api.get("/v1/exports", params={"status": "failed"}).json()["items"] == []
