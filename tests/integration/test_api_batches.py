"""Batches and what waits, over HTTP and from the command line."""

import json
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from app.batches_cli import app as cli
from app.ledger.batches import Batch, enqueue_batch
from app.ledger.enqueue import NewJob
from app.ledger.state import Event
from app.settings import get_settings
from tests.support.customers import Customer
from tests.support.flows import after, members, run, tidy
from tests.support.jobs import Note, add
from tests.support.problems import assert_problem
from tests.support.web import Web


def make(engine: Engine, tenant: Customer, jobs: int = 4, window: int | None = None) -> UUID:
    with engine.begin() as tx:
        batch = Batch(name="letters", jobs=[Note() for _ in range(jobs)], window=window)
        return enqueue_batch(tx, tenant.id, batch)


def test_a_batch_shows_its_progress(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    batch = make(engine, tenant, window=2)
    jobs = members(engine, batch)
    run(engine, jobs[0])
    shown = api.get(f"/v1/batches/{batch}").json()
    assert shown["progress"] == {
        "percent": 25.0,
        "total": 4,
        "done": 1,
        "succeeded": 1,
        "dead": 0,
        "cancelled": 0,
        "waiting": 1,
    }
    facts = (shown["name"], shown["state"], shown["window"], shown["closed"])
    assert facts == ("letters", "running", 2, True)
    assert api.get("/v1/batches").json() == {"items": [shown], "next_cursor": None}
    assert api.get("/v1/batches", params={"state": "failed"}).json()["items"] == []
    of_it = api.get("/v1/jobs", params={"batch_id": str(batch)}).json()["items"]
    assert [job["id"] for job in of_it] == [str(job) for job in reversed(jobs)]
    assert {job["batch_id"] for job in of_it} == {str(batch)}


def test_one_that_had_no_jobs_is_done(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    shown = api.get(f"/v1/batches/{make(engine, tenant, 0)}").json()
    assert (shown["state"], shown["progress"]["percent"]) == ("succeeded", 100.0)


def test_batches_come_page_by_page(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    made = [str(make(engine, tenant, 1)) for _ in range(3)]
    first = api.get("/v1/batches", params={"limit": 2}).json()
    second = api.get("/v1/batches", params={"cursor": first["next_cursor"]}).json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]


def test_a_job_shows_what_it_waits_for_and_what_it_began(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    failed, open_ = add(engine, tenant.id, Note()), add(engine, tenant.id, Note())
    run(engine, failed, Event.DIE)
    job = after(engine, tenant.id, failed, open_)
    shown = api.get(f"/v1/jobs/{job}").json()
    assert (shown["state"], shown["children"]) == ("waiting", {})
    assert shown["waits_for"] == [
        {"job_id": str(failed), "ended": "dead", "otherwise": "die"},
        {"job_id": str(open_), "ended": None, "otherwise": "die"},
    ]
    with engine.begin() as tx:
        enqueue_batch(
            tx, tenant.id, Batch(jobs=[Note(), NewJob(job=Note())], window=1), parent_id=job
        )
    shown = api.get(f"/v1/jobs/{job}").json()
    assert shown["children"] == {"scheduled": 1, "waiting": 1}
    of_it = api.get("/v1/jobs", params={"parent_id": str(job), "state": "waiting"}).json()
    assert [one["parent_id"] for one in of_it["items"]] == [str(job)]


def test_a_batch_is_cancelled(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    batch = make(engine, tenant)
    answer = api.post(f"/v1/batches/{batch}/cancel", json={"reason": "wrong list"})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/batches/{batch}")
    assert (answer.json()["cancelling"], answer.json()["state"]) == (True, "running")
    tidy(engine)
    assert api.get(f"/v1/batches/{batch}").json()["state"] == "cancelled"
    assert api.post(f"/v1/batches/{batch}/cancel").status_code == 202
    job = api.get(f"/v1/jobs/{members(engine, batch)[0]}").json()
    assert job["error"]["message"] == "wrong list"


def test_what_is_not_there_or_anothers_or_over(
    api: httpx.Client, web: Web, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    batch = make(engine, tenant, 1)
    assert_problem(api.get(f"/v1/batches/{uuid4()}"), 404, "not_found")
    with web.client(stranger.key) as other:
        assert_problem(other.get(f"/v1/batches/{batch}"), 404, "not_found")
        assert_problem(other.post(f"/v1/batches/{batch}/cancel"), 404, "not_found")
        assert other.get("/v1/batches").json()["items"] == []
        assert other.get("/v1/jobs", params={"batch_id": str(batch)}).json()["items"] == []
    run(engine, members(engine, batch)[0])
    assert_problem(api.post(f"/v1/batches/{batch}/cancel"), 409, "conflict")


def test_the_command_line(
    environment: dict[str, str],
    engine: Engine,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    batch = make(engine, tenant, 3)
    run(engine, members(engine, batch)[0])
    shown = CliRunner().invoke(cli, ["show", str(batch), "--json"])
    assert (json.loads(shown.stdout)["total"], json.loads(shown.stdout)["open"]) == (3, 2)
    assert "letters" in CliRunner().invoke(cli, ["show", str(batch)]).stdout
    ended = CliRunner().invoke(cli, ["cancel", str(batch), "--reason", "enough"])
    assert ended.exit_code == 0
    tidy(engine)
    assert json.loads(CliRunner().invoke(cli, ["show", str(batch), "--json"]).stdout)["state"] == (
        "cancelled"
    )
    get_settings.cache_clear()
