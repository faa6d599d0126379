"""Schedules over HTTP: made, seen, changed, run and deleted by their tenant, and by nobody else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from app.ids import new_id
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.schedules import add_schedule, change, fire, fired, make_due, row_of
from tests.support.web import Web

pytestmark = pytest.mark.long

DAILY = {"name": "every morning", "kind": "report.daily", "cron": "0 8 * * *"}


def post(api: httpx.Client, *, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post("/v1/schedules", json={**DAILY, **more}, headers=headers)


def made(api: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = post(api, **more)
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


def test_a_schedule_is_made_and_says_when_it_runs(api: httpx.Client) -> None:
    answer = post(api, timezone="Asia/Kathmandu", payload={"day": "2026-03-01"})
    assert answer.status_code == 201
    schedule = answer.json()
    assert answer.headers["location"] == f"/v1/schedules/{schedule['id']}"
    assert api.get(answer.headers["location"]).json() == schedule
    assert schedule["catch_up"] == "last"
    assert (schedule["paused"], schedule["error"], schedule["last_run"]) == (False, None, None)
    assert schedule["timezone"] == schedule["effective_timezone"] == "Asia/Kathmandu"
    runs = [
        (datetime.fromisoformat(run["at"]), datetime.fromisoformat(run["local"]))
        for run in schedule["next_runs"]
    ]
    assert len(runs) == 5
    assert all(at == local for at, local in runs)
    assert {(at.utcoffset(), f"{at:%H:%M}") for at, _ in runs} == {(timedelta(0), "02:15")}
    assert {f"{local:%H:%M}" for _, local in runs} == {"08:00"}
    days = {local.date() - runs[0][1].date() for _, local in runs}
    assert days == {timedelta(days=day) for day in range(5)}
    assert runs[0][0] > datetime.now(UTC)


def test_without_a_zone_it_follows_the_tenant(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    from app.keys import set_timezone
    from app.schedules.store import follow_tenant

    own = made(api)
    fixed = made(api, name="fixed", timezone="UTC")
    assert (own["timezone"], own["effective_timezone"]) == (None, "UTC")
    with engine.begin() as tx:
        set_timezone(tx, tenant.id, "Asia/Kathmandu")
        follow_tenant(tx, tenant.id)
    own, fixed = (api.get(f"/v1/schedules/{each['id']}").json() for each in (own, fixed))
    assert own["effective_timezone"] == "Asia/Kathmandu"
    assert own["next_runs"][0]["at"].endswith("T02:15:00Z")
    assert own["next_runs"][0]["local"].endswith("T08:00:00+05:45")
    assert fixed["next_runs"][0]["at"].endswith("T08:00:00Z")


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        ({"cron": "every day"}, "invalid_cron", "five fields"),
        ({"cron": "0 0 30 2 *"}, "invalid_cron", "day-of-month"),
        ({"timezone": "Europe/Berln"}, "unknown_timezone", "Europe/Berlin"),
        ({"timezone": ""}, "unknown_timezone", "Europe/Berlin"),
        ({"kind": "no.such"}, "unknown_kind", "report.daily"),
        ({"kind": "trials.expire"}, "unknown_kind", "Use one of: "),
        ({"payload": {"day": "yesterday"}}, "invalid_payload", "day"),
        ({"payload": {"daily": True}}, "invalid_payload", "daily"),
        ({"catch_up": "most"}, "invalid_parameters", "fields"),
        ({"name": ""}, "invalid_parameters", "fields"),
        ({"name": "a\x00b"}, "invalid_parameters", "NUL"),
        ({"payload": {"day": "9999-12-31"}}, "invalid_payload", "day"),
        ({"payload": {"\x00": 1}}, "invalid_payload", "report.daily"),
        ({"colour": "red"}, "invalid_parameters", "fields"),
    ],
)
def test_what_can_not_be_scheduled_is_refused(
    api: httpx.Client, engine: Engine, wrong: dict[str, Any], code: str, says: str
) -> None:
    answer = post(api, **wrong)
    assert_problem(answer, 422, code)
    assert says in answer.text
    assert count(engine, "schedules") == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ('"cron": "\\ud800 * * * *"', "invalid_parameters"),
        ('"timezone": "\\ud800"', "invalid_parameters"),
        ('"payload": {"\\ud800": 1}', "invalid_payload"),
        ('"payload": {"a\\u0000": 1}', "invalid_payload"),
        ('"name": "\\ud800"', "invalid_parameters"),
    ],
)
def test_text_that_is_no_text_is_refused(api: httpx.Client, wrong: str, code: str) -> None:
    """Lone surrogates are JSON, but neither UTF-8 nor what a database takes."""
    body = json.dumps(DAILY)[:-1] + f", {wrong}}}"
    headers = {"Content-Type": "application/json"}
    assert_problem(api.post("/v1/schedules", content=body, headers=headers), 422, code)


def test_names_are_unique_in_a_tenant(
    web: Web, api: httpx.Client, stranger: Customer, engine: Engine
) -> None:
    made(api)
    assert_problem(post(api), 409, "schedule_exists")
    with web.client(stranger.key) as theirs:
        made(theirs)
    assert count(engine, "schedules") == 2


def test_a_repeated_request_makes_one(api: httpx.Client, engine: Engine) -> None:
    first, again = post(api, key="k1"), post(api, key="k1")
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.headers["location"] == again.headers["location"]
    assert_problem(post(api, key="k1", cron="0 9 * * *"), 422, "idempotency_key_reused")
    assert count(engine, "schedules") == 1


def test_schedules_are_listed_newest_first_a_page_at_a_time(api: httpx.Client) -> None:
    ids = [made(api, name=f"number {number}")["id"] for number in range(3)]
    first = api.get("/v1/schedules", params={"limit": 2}).json()
    second = api.get("/v1/schedules", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    shown = [item["id"] for page in (first, second) for item in page["items"]]
    assert shown == ids[::-1]
    assert second["next_cursor"] is None


def test_a_change_is_in_force_at_once(api: httpx.Client) -> None:
    path = f"/v1/schedules/{made(api)['id']}"
    changed = api.patch(path, json={"cron": "30 22 * * *", "timezone": "Europe/Berlin"})
    assert changed.status_code == 200, changed.text
    assert {run["local"][11:16] for run in changed.json()["next_runs"]} == {"22:30"}
    assert changed.json()["payload"] == {}
    more = api.patch(path, json={"payload": {"day": "2026-01-02"}, "catch_up": "all"}).json()
    assert (more["payload"], more["catch_up"]) == ({"day": "2026-01-02"}, "all")
    assert more["next_runs"] == changed.json()["next_runs"]
    assert more["updated_at"] > more["created_at"]
    back = api.patch(path, json={"timezone": None}).json()
    assert back["effective_timezone"] == "UTC"
    assert api.get(path).json() == back


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cron": "nonsense"}, "invalid_cron"),
        ({"cron": None}, "invalid_parameters"),
        ({"paused": None}, "invalid_parameters"),
        ({"timezone": "Nowhere"}, "unknown_timezone"),
        ({"payload": {"x": 1}}, "invalid_payload"),
        ({"kind": "report.daily"}, "invalid_parameters"),
    ],
)
def test_a_bad_change_changes_nothing(api: httpx.Client, change: dict[str, Any], code: str) -> None:
    schedule = made(api)
    path = f"/v1/schedules/{schedule['id']}"
    assert_problem(api.patch(path, json={"catch_up": "all", **change}), 422, code)
    assert api.get(path).json() == schedule


def test_a_pause_lasts_until_it_is_ended_and_is_not_made_up_for(
    api: httpx.Client, engine: Engine
) -> None:
    schedule = made(api, cron="* * * * *", catch_up="all")
    path = f"/v1/schedules/{schedule['id']}"
    make_due(engine, UUID(schedule["id"]), slots=5)
    paused = api.patch(path, json={"paused": True}).json()
    assert (paused["paused"], paused["next_runs"]) == (True, [])
    assert fire(engine) == 0
    resumed = api.patch(path, json={"paused": False}).json()
    assert (resumed["paused"], resumed["paused_at"]) == (False, None)
    assert resumed["next_runs"][0]["at"] > resumed["updated_at"]
    assert fired(engine, UUID(schedule["id"])) == {}


def test_an_operators_pause_is_ended_by_operators_alone(
    api: httpx.Client, engine: Engine, tenant: Customer, run: Run
) -> None:
    name = made(api)["name"]
    path = f"/v1/schedules/{api.get('/v1/schedules').json()['items'][0]['id']}"
    asked = ("--tenant", tenant.id, "--reason", "It floods a partner.")
    assert run("schedules", "pause", name, *asked).status == 0
    held = api.get(path).json()
    assert (held["paused"], held["error"]["code"]) == (True, "paused_by_operator")
    assert held["error"]["message"] == "It floods a partner."
    for answer in (
        api.patch(path, json={"paused": False}),
        api.patch(path, json={"cron": "0 9 * * *", "paused": False}),
        api.post(f"{path}/run"),
        api.delete(path),
    ):
        assert_problem(answer, 409, "paused_by_operator")
        assert "It floods a partner. Only operators" in answer.json()["detail"]
    changed = api.patch(path, json={"cron": "0 9 * * *", "paused": True}).json()
    assert (changed["cron"], changed["error"]) == ("0 9 * * *", held["error"])
    assert count(engine, "jobs") == 0
    assert run("schedules", "run", name, *asked).status == 0
    assert run("schedules", "resume", name, *asked).status == 0
    free = api.get(path).json()
    assert (free["paused"], free["error"]) == (False, None)
    assert api.patch(path, json={"paused": True}).json()["error"] is None
    assert not api.patch(path, json={"paused": False}).json()["paused"]
    assert api.delete(path).status_code == 204


def test_what_it_names_has_to_have_begun_to_be_run_now(api: httpx.Client) -> None:
    path = f"/v1/schedules/{made(api, payload={'day': '2199-01-01'})['id']}"
    assert_problem(api.post(f"{path}/run"), 422, "not_begun")


def test_a_schedule_can_be_made_paused(api: httpx.Client) -> None:
    schedule = made(api, paused=True)
    assert (schedule["paused"], schedule["next_runs"]) == (True, [])


def test_one_that_broke_says_why_and_goes_on_once_it_is_mended(
    api: httpx.Client, engine: Engine
) -> None:
    schedule = made(api, cron="* * * * *")
    path = f"/v1/schedules/{schedule['id']}"
    make_due(engine, UUID(schedule["id"]))
    with engine.begin() as tx:
        change(tx, UUID(schedule["id"]), payload='{"old": 1}')
    fire(engine)
    broken = api.get(path).json()
    assert broken["paused"]
    assert broken["error"]["code"] == "invalid_payload"
    assert_problem(api.patch(path, json={"paused": False}), 422, "invalid_payload")
    mended = api.patch(path, json={"paused": False, "payload": {}}).json()
    assert (mended["paused"], mended["error"]) == (False, None)
    assert mended["next_runs"]


def test_the_last_run_and_its_job_are_shown(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    schedule = add_schedule(engine, tenant.id)
    (slot,) = make_due(engine, schedule)
    fire(engine)
    last = api.get(f"/v1/schedules/{schedule}").json()["last_run"]
    assert datetime.fromisoformat(last["slot_at"]) == slot
    assert last["job_id"] == str(fired(engine, schedule)[slot])
    assert (last["state"], last["finished_at"]) == ("scheduled", None)
    assert api.get(f"/v1/jobs/{last['job_id']}").json()["kind"] == "test.note"


def test_running_it_now_is_one_job_more(api: httpx.Client, engine: Engine) -> None:
    schedule = made(api, paused=True, payload={"day": "2026-03-01"})
    path = f"/v1/schedules/{schedule['id']}"
    first = api.post(f"{path}/run", headers={"Idempotency-Key": "k"})
    again = api.post(f"{path}/run", headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()) == (202, again.json())
    job = first.json()
    assert first.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"]) == ("report.daily", "scheduled")
    last = api.get(path).json()["last_run"]
    assert (last["job_id"], last["slot_at"]) == (job["id"], None)
    assert count(engine, "jobs") == 1
    assert count(engine, "schedule_slots") == 0


def test_a_deleted_schedule_fires_no_more_and_leaves_its_jobs(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    schedule = add_schedule(engine, tenant.id)
    make_due(engine, schedule)
    fire(engine)
    make_due(engine, schedule)
    assert api.delete(f"/v1/schedules/{schedule}").status_code == 204
    assert fire(engine) == 0
    assert count(engine, "jobs") == 1
    assert count(engine, "schedule_slots") == 0
    assert_problem(api.delete(f"/v1/schedules/{schedule}"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"paused": True}),
        ("DELETE", "", None),
        ("POST", "/run", None),
    ],
)
def test_nobody_else_sees_or_touches_it(
    web: Web,
    api: httpx.Client,
    stranger: Customer,
    engine: Engine,
    method: str,
    tail: str,
    body: dict[str, Any] | None,
) -> None:
    schedule = made(api)
    before = row_of(engine, UUID(schedule["id"]))
    for client, which, status in ((api, new_id(), 404), (api, "x", 422)):
        answer = client.request(method, f"/v1/schedules/{which}{tail}", json=body)
        assert answer.status_code == status
    with web.client(stranger.key) as theirs:
        answer = theirs.request(method, f"/v1/schedules/{schedule['id']}{tail}", json=body)
        assert_problem(answer, 404, "not_found")
        assert theirs.get("/v1/schedules").json()["items"] == []
    with web.client(None) as nobody:
        answer = nobody.request(method, f"/v1/schedules/{schedule['id']}{tail}", json=body)
        assert_problem(answer, 401, "unauthenticated")
    assert row_of(engine, UUID(schedule["id"])) == before
    assert count(engine, "jobs") == 0


def test_a_tenant_can_not_have_any_number(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.schedules import store

    monkeypatch.setattr(store, "MAX_PER_TENANT", 1)
    made(api)
    assert_problem(post(api, name="one more"), 422, "too_many_schedules")
