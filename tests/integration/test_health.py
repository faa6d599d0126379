"""Is the process alive, are its servers there, and what a caller hears when the database is not."""

import httpx
import pytest
from sqlalchemy import Engine

from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.servers import Servers
from tests.support.web import Web, web_server


def test_a_process_with_its_servers_is_alive_and_ready(web: Web) -> None:
    with web.client(None) as anyone:
        assert anyone.get("/healthz").json()["status"] == "ok"
        ready = anyone.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": {"database": "ok", "storage": "ok"}}


def test_without_the_database_it_is_alive_and_not_ready_and_recovers_by_itself(
    web: Web, servers: Servers, database: str
) -> None:
    with web.client(None) as anyone:
        assert anyone.get("/readyz").status_code == 200
        with servers.no_new_connections(database):
            assert anyone.get("/healthz").status_code == 200
            away = anyone.get("/readyz")
            assert away.status_code == 503
            assert away.json()["checks"] == {"database": "OperationalError", "storage": "ok"}
            assert int(away.headers["retry-after"]) > 0
        assert anyone.get("/readyz").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_database_a_request_is_asked_to_come_again(
    api: httpx.Client,
    servers: Servers,
    database: str,
    storage: Storage,
    tenant: Customer,
    method: str,
) -> None:
    body = b"email\na@example.com\n" if method == "POST" else None
    headers = {"Content-Type": "text/csv"}
    with servers.no_new_connections(database):
        answer = api.request(method, "/v1/imports", content=body, headers=headers)
        assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        assert storage.keys() == []
    assert api.request(method, "/v1/imports", content=body, headers=headers).is_success


@pytest.mark.parametrize("path", ["/console/imports", "/console/overview", "/console/sign-in"])
def test_without_the_database_a_page_says_so(
    web: Web, servers: Servers, database: str, tenant: Customer, path: str
) -> None:
    with web.client(None) as browser:
        assert browser.post("/console/session", data={"key": tenant.key}).status_code == 303
        with servers.no_new_connections(database):
            away = browser.get(path)
        if path == "/console/sign-in":
            assert away.status_code == 200
        else:
            assert (away.status_code, away.headers["retry-after"]) == (503, "5")
            assert away.headers["content-type"].startswith("text/html")
            assert "The database doesn&#39;t answer" in away.text


def test_without_the_object_store_an_upload_is_asked_to_come_again(
    servers: Servers, environment: dict[str, str], engine: Engine, tenant: Customer
) -> None:
    """Here its bucket is missing; a store that is away answers the same, a few retries later."""
    missing = Settings.of({**environment, "MILLRACE_S3_BUCKET": "no-such-bucket"})
    with web_server(missing) as web, web.client(tenant.key) as client:
        headers = {"Content-Type": "text/csv"}
        answer = client.post("/v1/imports", content=b"email\na@example.com\n", headers=headers)
        assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        ready = client.get("/readyz")
        assert ready.status_code == 200, "all else works"
        checks = {"database": "ok", "storage": "ClientError"}
        assert ready.json() == {"status": "degraded", "checks": checks}
    assert count(engine, "imports") == count(engine, "jobs") == 0


class TestDatabaseLostDuringAnUpload:
    """The key was good; then the database goes away before the import is recorded."""

    def test_the_file_is_not_kept(
        self, web: Web, servers: Servers, database: str, storage: Storage, tenant: Customer
    ) -> None:
        body = b"email\na@example.com\n"
        lines = [
            "POST /v1/imports HTTP/1.1",
            "Host: test",
            f"Authorization: Bearer {tenant.key}",
            "Content-Type: text/csv",
            "Expect: 100-continue",
            f"Content-Length: {len(body)}",
        ]
        with web.connect() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            # The server asks for the body only when it reads it: the key has been checked by then.
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            with servers.no_new_connections(database):
                connection.sendall(body)
                assert connection.recv(12) == b"HTTP/1.1 503"
        assert storage.keys() == []
