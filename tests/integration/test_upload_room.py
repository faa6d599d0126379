"""How many files a web process takes at a time: what it holds of them has a bound, and no one tenant has it all."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from sqlalchemy import Engine

from app.api import accept
from app.storage import Storage
from tests.support.customers import Customer, make_customer
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.servers import wait_for
from tests.support.web import Web

ROW = b"a@example.com\n"
CSV = b"email\n" + ROW
PART = 5 * 1024 * 1024
FILES = 2


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_UPLOADS_AT_ONCE": str(FILES),
        "MILLRACE_UPLOAD_PART_BYTES": str(PART),
    }


@contextmanager
def slow_upload(
    web: Web, storage: Storage, customer: Customer, *, path: str = "/v1/imports"
) -> Iterator[socket.socket]:
    """A file whose first part is in the store, and whose rest doesn't come."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        f"Authorization: Bearer {customer.key}",
        "Content-Type: text/csv",
        f"Content-Length: {10 * PART}",
    ]
    before = len(storage.open_uploads())
    with web.connect() as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(CSV + ROW * (PART // len(ROW) + 1))
        wait_for(lambda: len(storage.open_uploads()) > before, what="the first part")
        yield connection


def post(web: Web, customer: Customer, path: str = "/v1/imports") -> httpx.Response:
    with web.client(customer.key) as client:
        return client.post(path, content=CSV, headers={"Content-Type": "text/csv"})


def test_a_tenant_has_half_of_the_room_and_everybody_all_of_it(
    web: Web, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
) -> None:
    with ExitStack() as uploads:
        uploads.enter_context(slow_upload(web, storage, tenant))
        answer = post(web, tenant)
        assert_problem(answer, 429, "too_many_uploads")
        assert int(answer.headers["retry-after"]) > 0
        assert post(web, stranger).status_code == 202
        uploads.enter_context(slow_upload(web, storage, stranger, path="/v1/files"))
        answer = post(web, make_customer(engine))
        assert_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
    wait_for(lambda: post(web, tenant).status_code == 202, what="room again")


def test_who_falls_silent_gives_up_its_place(
    web: Web,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "SILENCE_SECONDS", 0.2)
    with slow_upload(web, storage, tenant) as connection:
        assert connection.recv(12) == b"HTTP/1.1 400"
        assert b"upload_stalled" in connection.recv(4096)
    assert_nothing_left(engine, storage)
    assert post(web, tenant).status_code == 202
