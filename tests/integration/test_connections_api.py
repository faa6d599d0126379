"""Connections over HTTP: made, shown, changed, run and deleted; the token never comes back."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine, text

import workers.handlers  # noqa: F401 - so that the worker knows them
from app.outbound.breaker import Breaker, BreakerPolicy
from app.sync import connections
from tests.support.commands import Run
from tests.support.crm import Crm, crm_server
from tests.support.customers import Customer
from tests.support.runtime import Worker
from tests.support.syncing import NETWORKS
from tests.support.web import Web

TOKEN = "very-secret-token"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS}


@pytest.fixture
def crm() -> Iterator[Crm]:
    with crm_server() as served:
        served.token = TOKEN
        yield served


def make(api: httpx.Client, url: str, **more: Any) -> dict[str, Any]:
    answer = api.post(
        "/v1/connections", json={"name": "CRM", "base_url": url, "token": TOKEN, **more}
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/connections/{answer.json()['id']}"
    made: dict[str, Any] = answer.json()
    return made


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_it_is_made_shown_and_changed_and_its_token_is_never_shown(
    api: httpx.Client, crm: Crm, engine: Engine
) -> None:
    made = make(api, crm.url)
    assert (made["state"], made["push"], made["deletes"], made["per_second"]) == (
        "active",
        True,
        "keep",
        10,
    )
    where = f"/v1/connections/{made['id']}"
    assert api.get(where).json() == made
    assert [each["id"] for each in api.get("/v1/connections").json()["items"]] == [made["id"]]
    changed = api.patch(where, json={"token": "another", "push": False, "paused": True})
    assert (changed.json()["push"], changed.json()["state"]) == (False, "paused")
    for answer in (api.get(where), api.get("/v1/connections"), changed):
        assert TOKEN not in answer.text
        assert "another" not in answer.text
    with engine.connect() as tx:
        kept = tx.execute(text("SELECT CAST(c AS text), token FROM connections c")).one()
        assert TOKEN not in str(kept)
        assert b"another" not in bytes(kept.token)


def test_a_repeated_request_makes_one(api: httpx.Client, crm: Crm) -> None:
    body = {"name": "CRM", "base_url": crm.url, "token": TOKEN}
    headers = {"Idempotency-Key": "one"}
    first, second = (api.post("/v1/connections", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    other = api.post("/v1/connections", json={**body, "token": "other"}, headers=headers)
    assert code(other) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"base_url": "http://10.0.0.1/"}, (422, "address_refused")),
        ({"base_url": "http://169.254.169.254/latest"}, (422, "address_refused")),
        ({"base_url": "ftp://example.com"}, (422, "invalid_url")),
        ({"base_url": "http://user:pw@127.0.0.1/"}, (422, "invalid_url")),
        ({"base_url": "http://127.0.0.1/?a=b"}, (422, "invalid_url")),
        ({"token": "two words"}, (422, "invalid_parameters")),
        ({"token": "line\nfeed"}, (422, "invalid_parameters")),
        ({"per_second": 0}, (422, "invalid_parameters")),
        ({"deletes": "sometimes"}, (422, "invalid_parameters")),
        ({"cursor": "x"}, (422, "invalid_parameters")),
    ],
)
def test_what_makes_no_sense_is_refused(
    api: httpx.Client, body: dict[str, Any], wanted: tuple[int, str], crm: Crm
) -> None:
    usual = {"name": "CRM", "base_url": crm.url, "token": TOKEN}
    answer = api.post("/v1/connections", json={**usual, **body})
    assert code(answer) == wanted
    assert TOKEN not in answer.text


def test_the_address_cannot_be_changed(api: httpx.Client, crm: Crm) -> None:
    where = f"/v1/connections/{make(api, crm.url)['id']}"
    answer = api.patch(where, json={"base_url": "https://attacker.example"})
    assert code(answer) == (422, "invalid_parameters")


def test_a_run_is_accepted_once_and_can_be_watched(
    api: httpx.Client, crm: Crm, worker: Worker, engine: Engine
) -> None:
    crm.add("ada@example.com")
    made = make(api, crm.url, push=False)
    where = f"/v1/connections/{made['id']}"
    accepted = api.post(f"{where}/sync")
    assert accepted.status_code == 202
    assert accepted.json()["state"] == "queued"
    assert api.post(f"{where}/sync").json()["id"] == accepted.json()["id"]
    with engine.begin() as tx:
        job_id = tx.execute(text("UPDATE jobs SET state = 'queued' RETURNING id")).scalar_one()
        tx.execute(text("DELETE FROM outbox"))
        query = text("""
            INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
            SELECT id, tenant_id, queue, kind, attempt, now() FROM jobs
        """)
        tx.execute(query)
    worker.deliver(job_id)
    run = api.get(accepted.headers["location"]).json()
    assert (run["error"], run["counts"]) == (None, {"pages": 1, "created": 1})
    assert [each["id"] for each in api.get(f"{where}/runs").json()["items"]] == [run["id"]]
    assert api.get(where).json()["synced_at"] is not None


def test_a_paused_one_says_why_it_does_not_run(api: httpx.Client, crm: Crm) -> None:
    where = f"/v1/connections/{make(api, crm.url)['id']}"
    api.patch(where, json={"paused": True})
    assert code(api.post(f"{where}/sync")) == (409, "connection_paused")
    api.patch(where, json={"paused": False})
    assert api.post(f"{where}/sync").status_code == 202


def test_an_operators_pause_is_ended_by_operators_alone(
    api: httpx.Client, crm: Crm, engine: Engine, run: Run
) -> None:
    made = make(api, crm.url)
    where = f"/v1/connections/{made['id']}"
    assert run("connections", "pause", made["id"], "--reason", "Its server asked.").status == 0
    error = {"code": "paused_by_operator", "message": "Its server asked."}
    for answer in (api.patch(where, json={"paused": False}), api.post(f"{where}/sync")):
        assert code(answer) == (409, "paused_by_operator")
        assert "Its server asked. Only operators" in answer.json()["detail"]
    for changes in ({"token": "another"}, {"paused": True}, {"push": False}):
        changed = api.patch(where, json=changes).json()
        assert (changed["state"], changed["error"]) == ("paused", error)
    again = {"name": "Another", "base_url": f"{crm.url}/else", "token": TOKEN}
    for answer in (api.delete(where), api.post("/v1/connections", json=again)):
        assert code(answer) == (409, "paused_by_operator")
        assert "Its server asked. Only operators" in answer.json()["detail"]
    with engine.begin() as tx:
        connections.pause(tx, UUID(made["id"]), code="sync_unauthorized", message="No.")
    assert api.get(where).json()["error"] == error
    assert run("connections", "resume", made["id"]).status == 0
    assert api.post(f"{where}/sync").status_code == 202
    api.patch(where, json={"paused": True})
    assert api.patch(where, json={"paused": False}).json()["state"] == "active"
    assert api.post("/v1/connections", json=again).status_code == 201
    assert api.delete(where).status_code == 204


def test_it_shows_when_its_server_is_left_alone(
    api: httpx.Client, crm: Crm, engine: Engine, tenant: Customer
) -> None:
    made = make(api, crm.url)
    assert made["circuit"] is None
    breaker = Breaker(engine, tenant.id, f"connection:{made['id']}", BreakerPolicy(threshold=1))
    breaker.failed(breaker.admit(), "down")
    circuit = api.get(f"/v1/connections/{made['id']}").json()["circuit"]
    assert (circuit["state"], circuit["reason"], circuit["failures"]) == ("open", "down", 1)


def test_anothers_connection_is_none(
    api: httpx.Client, web: Web, stranger: Customer, crm: Crm
) -> None:
    where = f"/v1/connections/{make(api, crm.url)['id']}"
    run = api.post(f"{where}/sync").headers["location"]
    own = make(api, crm.url)["id"]
    assert code(api.get(run.replace(where, f"/v1/connections/{own}"))) == (404, "not_found")
    with web.client(stranger.key) as theirs:
        for answer in (
            theirs.get(where),
            theirs.patch(where, json={"push": False}),
            theirs.delete(where),
            theirs.post(f"{where}/sync"),
            theirs.get(f"{where}/runs"),
            theirs.get(run),
            theirs.get(f"/v1/connections/{uuid4()}"),
        ):
            assert code(answer) == (404, "not_found")
        assert theirs.get("/v1/connections").json()["items"] == []


def test_deleting_forgets_all_about_it_but_the_contacts(
    api: httpx.Client, crm: Crm, engine: Engine
) -> None:
    where = f"/v1/connections/{make(api, crm.url)['id']}"
    api.post(f"{where}/sync")
    assert api.delete(where).status_code == 204
    assert code(api.get(where)) == (404, "not_found")
    with engine.connect() as tx:
        for table in ("connections", "sync_runs", "sync_links", "rate_limits", "circuit_breakers"):
            assert tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0  # noqa: S608


class TestWithoutAKey:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_SEALING_KEYS": ""}

    def test_no_connection_can_be_made(self, api: httpx.Client, crm: Crm) -> None:
        body = {"name": "CRM", "base_url": crm.url, "token": TOKEN}
        answer = api.post("/v1/connections", json=body)
        assert code(answer) == (503, "no_sealing_key")
