"""What one tenant may have: a file's size and how many imports at once, told before the body where possible."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, text

from app.imports.limits import set_limits
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.web import Web

CSV = b"email\na@example.com\n"
MOST = 2


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_MAX_OPEN": str(MOST)}


def post(
    api: httpx.Client, body: bytes | Iterator[bytes] = CSV, key: str | None = None
) -> httpx.Response:
    headers = {"Content-Type": "text/csv"} | ({"Idempotency-Key": key} if key else {})
    return api.post("/v1/imports", content=body, headers=headers)


def end_all(engine: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("UPDATE imports SET status = 'succeeded', finished_at = now()"))


def test_so_many_imports_at_once_and_no_more_until_one_has_ended(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    assert [post(api).status_code for _ in range(MOST)] == [202] * MOST
    refused = post(api)
    assert_problem(refused, 429, "too_many_imports")
    assert int(refused.headers["retry-after"]) > 0
    assert count(engine, "imports") == count(engine, "jobs") == len(storage.keys()) == MOST
    end_all(engine)
    assert post(api).status_code == 202


def test_the_answer_comes_before_the_body_is_asked_for(
    web: Web, tenant: Customer, api: httpx.Client
) -> None:
    for _ in range(MOST):
        post(api)
    head = [
        "POST /v1/imports HTTP/1.1",
        "Host: test",
        f"Authorization: Bearer {tenant.key}",
        "Content-Type: text/csv",
        "Content-Length: 1000000",
        "Expect: 100-continue",
    ]
    with web.connect() as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert connection.recv(12) == b"HTTP/1.1 429"


def test_a_request_that_is_repeated_is_no_new_import(api: httpx.Client, engine: Engine) -> None:
    first = post(api, key="k1")
    post(api)
    assert_problem(post(api), 429, "too_many_imports")
    again = post(api, key="k1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert count(engine, "imports") == MOST


def test_another_tenant_has_its_own_number(web: Web, api: httpx.Client, stranger: Customer) -> None:
    for _ in range(MOST):
        post(api)
    with web.client(stranger.key) as theirs:
        assert post(theirs).status_code == 202


def test_a_direct_upload_counts_when_it_begins_and_when_it_ends(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    body = {"filename": "c.csv", "size": len(CSV)}
    upload = api.post("/v1/uploads", json=body).json()
    httpx.put(upload["parts"][0]["url"], content=CSV, trust_env=False)
    for _ in range(MOST):
        post(api)
    assert_problem(api.post("/v1/uploads", json=body), 429, "too_many_imports")
    path = f"/v1/uploads/{upload['id']}"
    waiting = api.post(f"{path}/complete")
    assert_problem(waiting, 429, "too_many_imports")
    assert int(waiting.headers["retry-after"]) > 0
    assert api.get(path).json()["status"] == "open"
    end_all(engine)
    assert api.post(f"{path}/complete").status_code == 202
    assert count(engine, "imports") == len(storage.keys()) == MOST + 1


def limit_size(engine: Engine, tenant: Customer, size: int) -> None:
    with engine.begin() as tx:
        set_limits(tx, tenant.id, max_bytes=size, max_rows=None, max_open=None)


def test_a_tenants_own_size_limit_holds_for_both_ways(
    api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    limit_size(engine, tenant, 1000)
    large = CSV * 100

    def blocks() -> Iterator[bytes]:
        yield large

    assert_problem(post(api, large), 413, "too_large")
    assert_problem(post(api, blocks()), 413, "too_large")
    announced = {"filename": "c.csv", "size": len(large)}
    assert_problem(api.post("/v1/uploads", json=announced), 413, "too_large")
    assert_nothing_left(engine, storage)
    assert post(api).status_code == 202
