"""Posting, cancelling and retrying jobs: HTTP in, rows and messages out."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.api.bodies import MAX_BODY_BYTES
from app.broker.publisher import Publisher
from app.dispatcher import dispatch_batch
from app.errors import LostLease
from app.ids import new_id
from app.ledger import store
from app.ledger.state import Event
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG, Greeting, dead
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_lawful,
    count,
    events,
    job_facts,
    running,
)
from tests.support.problems import assert_problem
from tests.support.queues import Queues
from tests.support.web import Web, web_server

HELLO = {"kind": "test.greeting", "payload": {"name": "Ada"}}


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    with web_server(settings, catalog=TEST_CATALOG) as served:
        yield served


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def column(engine: Engine, job_id: str | UUID, name: str) -> Any:
    with engine.connect() as tx:
        query = text(f"SELECT {name} FROM jobs WHERE id = :id")  # noqa: S608
        return tx.execute(query, {"id": job_id}).scalar_one()


def test_a_posted_job_is_accepted_and_becomes_a_message(
    api: httpx.Client, engine: Engine, settings: Settings, queues: Queues
) -> None:
    answer = api.post("/v1/jobs", json=HELLO)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["kind"], job["version"], job["state"]) == ("test.greeting", 2, "scheduled")
    assert api.get(answer.headers["location"]).json() == job
    assert column(engine, job["id"], "payload") == {"name": "Ada", "times": 1}
    publisher = Publisher(settings)
    with engine.begin() as tx:
        assert dispatch_batch(tx, publisher, batch=10) == 1
    publisher.close()
    assert queues.job_ids("default") == [job["id"]]
    assert_lawful(engine)


def post_raw(api: httpx.Client, body: object) -> httpx.Response:
    """As JSON, whatever it holds."""
    headers = {"Content-Type": "application/json"}
    return api.post("/v1/jobs", content=json.dumps(body), headers=headers)


def test_only_public_kinds_can_be_posted(api: httpx.Client, engine: Engine) -> None:
    for kind in ("test.note", "import.plan", "no.such"):
        answer = post_raw(api, {"kind": kind, "payload": {}})
        assert_problem(answer, 422, "unknown_kind")
        offered = answer.json()["detail"].partition("Use one of: ")[2].rstrip(".").split(", ")
        assert {"report.daily", "test.greeting"} <= set(offered)
        assert not {"test.note", "import.plan"} & set(offered)
    for broken in ("\ud800", "\x00", "", None):
        assert_problem(post_raw(api, {"kind": broken}), 422, "invalid_parameters")
    assert count(engine, "jobs") == 0


def test_a_payload_that_does_not_fit_names_the_field(api: httpx.Client) -> None:
    cases: tuple[tuple[object, str], ...] = (
        ({}, "body.payload.name"),
        ({"name": 3}, "body.payload.name"),
        ({"name": "Ada", "times": 10}, "body.payload.times"),
        ({"name": "Ada", "shout": True}, "body.payload.shout"),
        ({"name": "Ada", "\ud800": 1}, "body.payload"),
        ("Ada", "body.payload"),
    )
    for payload, field in cases:
        answer = post_raw(api, {"kind": "test.greeting", "payload": payload})
        assert_problem(answer, 422, "invalid_parameters")
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_what_makes_no_sense_is_refused(api: httpx.Client, engine: Engine) -> None:
    cases: tuple[tuple[dict[str, object], str], ...] = (
        ({"run_at": "2100-01-01T00:00:00"}, "invalid_parameters"),
        ({"deadline": "tomorrow"}, "invalid_parameters"),
        ({"run_at": "9999-12-31T23:59:59-23:59"}, "too_far_ahead"),
        ({"deadline": "9999-12-31T23:59:59Z"}, "too_far_ahead"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "invalid_deadline"),
        ({"run_at": soon(3600), "deadline": soon(1800)}, "invalid_deadline"),
        ({"unique_key": ""}, "invalid_parameters"),
        ({"unique_key": "k" * 256}, "invalid_parameters"),
        ({"unique_key": "\x00"}, "invalid_parameters"),
        ({"payload": {"name": "\x00"}}, "invalid_text"),
        ({"payload": {"name": "\ud800"}}, "invalid_text"),
        ({"queue": "high"}, "invalid_parameters"),
    )
    for more, code in cases:
        assert_problem(post_raw(api, {**HELLO, **more}), 422, code)
    assert (count(engine, "jobs"), count(engine, "outbox")) == (0, 0)


def test_a_body_is_bounded(api: httpx.Client) -> None:
    huge = json.dumps({**HELLO, "unique_key": "k" * MAX_BODY_BYTES}).encode()
    headers = {"Content-Type": "application/json"}
    whole = api.post("/v1/jobs", content=huge, headers=headers)
    assert_problem(whole, 413, "too_large")
    chunked = api.post("/v1/jobs", content=iter([huge[:70_000]] * 5), headers=headers)
    assert_problem(chunked, 413, "too_large")
    for broken in (b"", b"{", b"[]", b"[" * 100_000):
        refused = api.post("/v1/jobs", content=broken, headers=headers)
        assert refused.status_code in {400, 422}, (broken[:10], refused.text)


def test_a_job_has_its_time_and_its_deadline(api: httpx.Client, engine: Engine) -> None:
    later = {**HELLO, "run_at": soon(600), "deadline": soon(900)}
    job = api.post("/v1/jobs", json=later).json()
    assert 590 < job_facts(engine, UUID(job["id"])).wait_seconds < 601
    assert job_facts(engine, UUID(job["id"])).outbox
    assert job["deadline"] == column(engine, job["id"], "deadline").isoformat().replace(
        "+00:00", "Z"
    )
    assert count(engine, "deadlines") == 1


def test_a_time_that_is_past_does_not_jump_the_queue(api: httpx.Client, engine: Engine) -> None:
    early = {**HELLO, "run_at": "0001-01-01T00:00:00+12:00"}
    job = api.post("/v1/jobs", json=early).json()
    assert -30 < job_facts(engine, UUID(job["id"])).wait_seconds <= 0
    assert api.get("/v1/jobs").status_code == 200


def test_a_unique_key_gives_one_job(
    web: Web, api: httpx.Client, stranger: Customer, engine: Engine
) -> None:
    first = api.post("/v1/jobs", json={**HELLO, "unique_key": "ada"})
    other = {**HELLO, "payload": {"name": "Bob"}, "unique_key": "ada"}
    again = api.post("/v1/jobs", json=other)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    with web.client(stranger.key) as theirs:
        assert theirs.post("/v1/jobs", json=other).json()["id"] != first.json()["id"]
    assert (count(engine, "jobs"), count(engine, "outbox")) == (2, 2)


def test_the_same_request_is_one_job_however_often_and_however_fast_it_comes(
    api: httpx.Client, engine: Engine
) -> None:
    def post(_: int) -> httpx.Response:
        return api.post("/v1/jobs", json=HELLO, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(post, range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert count(engine, "jobs") == 1
    other = {**HELLO, "payload": {"name": "Bob"}}
    used = api.post("/v1/jobs", json=other, headers={"Idempotency-Key": "one"})
    assert_problem(used, 422, "idempotency_key_reused")


def test_an_answer_is_remembered_also_when_the_deadline_has_passed(
    api: httpx.Client, engine: Engine
) -> None:
    body, headers = {**HELLO, "deadline": soon(60)}, {"Idempotency-Key": "one"}
    first = api.post("/v1/jobs", json=body, headers=headers)
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET deadline = clock_timestamp() - interval '1 hour'"))
    assert api.post("/v1/jobs", json=body, headers=headers).json() == first.json()


@pytest.mark.parametrize("state", ["scheduled", "queued", "running"])
def test_a_job_that_has_not_ended_is_cancelled_for_good(
    api: httpx.Client, engine: Engine, tenant: Customer, state: str
) -> None:
    make = {"scheduled": add, "queued": add_queued}.get(state)
    claimed = None if make else running(engine, tenant.id, Note())
    job_id = claimed.id if claimed else make and make(engine, tenant.id, Note())
    path = f"/v1/jobs/{job_id}/cancel"
    answer = api.post(path, json={"reason": "not wanted \x00 any more"})
    assert_problem(answer, 422, "invalid_parameters")
    answer = api.post(path, json={"reason": "not wanted any more"})
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    assert answer.json()["error"]["message"] == "not wanted any more"
    assert (count(engine, "outbox"), count(engine, "in_flight")) == (0, 0)
    if claimed:
        with engine.begin() as tx, pytest.raises(LostLease):
            store.settle(tx, claimed, Event.SUCCEED)
    again = api.post(path)
    assert (again.status_code, again.json()) == (202, answer.json())
    assert_lawful(engine)


def test_what_has_ended_otherwise_can_be_neither_cancelled_nor_retried(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    done = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, done, Event.SUCCEED)
    gone = dead(engine, tenant.id, Note())
    busy = running(engine, tenant.id, Note())
    for path in (f"{done.id}/cancel", f"{done.id}/retry", f"{gone}/cancel", f"{busy.id}/retry"):
        assert_problem(api.post(f"/v1/jobs/{path}"), 409, "conflict")
    assert " is succeeded;" in api.post(f"/v1/jobs/{done.id}/cancel").json()["detail"]
    assert " is running;" in api.post(f"/v1/jobs/{busy.id}/retry").json()["detail"]


@pytest.mark.parametrize("operation", ["cancel", "retry"])
def test_nobody_touches_another_tenants_job(
    api: httpx.Client, engine: Engine, stranger: Customer, operation: str
) -> None:
    theirs = [add(engine, stranger.id, Note()), dead(engine, stranger.id, Note()), new_id()]
    before = [events(engine, job_id) for job_id in theirs]
    for job_id in theirs:
        assert_problem(api.post(f"/v1/jobs/{job_id}/{operation}"), 404, "not_found")
    assert [events(engine, job_id) for job_id in theirs] == before


def test_a_dead_job_is_retried_with_all_its_attempts(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    answer = api.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "scheduled")
    assert answer.json()["history"][-1]["event"] == "replay"
    facts = job_facts(engine, job_id)
    assert (facts.attempt, facts.max_attempts, facts.outbox, facts.error) == (1, 4, True, None)
    assert_lawful(engine)


def test_a_waiting_job_is_retried_now_and_once(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    claimed = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, claimed, Event.RETRY, delay_seconds=600)
    for _ in range(2):
        assert api.post(f"/v1/jobs/{claimed.id}/retry").json()["state"] == "scheduled"
    facts = job_facts(engine, claimed.id)
    assert (facts.wait_seconds <= 0, facts.outbox) == (True, True)
    assert events(engine, claimed.id).count("hasten") == 1
    assert_lawful(engine)


def test_a_dead_job_that_can_not_run_again_says_why(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Greeting(name="Ada"))
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET version = 3 WHERE id = :id"), {"id": job_id})
    answer = api.post(f"/v1/jobs/{job_id}/retry")
    assert_problem(answer, 409, "unreadable_job")
    assert "version 3; here is version 2" in answer.json()["detail"]
    assert job_facts(engine, job_id).state == "dead"


def test_retries_at_the_same_moment_are_one(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    with ThreadPoolExecutor(6) as pool:
        posts = [pool.submit(api.post, f"/v1/jobs/{job_id}/retry") for _ in range(6)]
    assert {post.result().status_code for post in posts} == {202}
    assert events(engine, job_id).count("replay") == 1
    assert count(engine, "outbox") == 1


def test_cancels_at_the_same_moment_are_one(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = add_queued(engine, tenant.id, Note())
    together = threading.Barrier(6)

    def cancel() -> int:
        together.wait()
        return api.post(f"/v1/jobs/{job_id}/cancel").status_code

    with ThreadPoolExecutor(6) as pool:
        assert {each.result() for each in [pool.submit(cancel) for _ in range(6)]} == {202}
    assert events(engine, job_id).count("cancel") == 1
