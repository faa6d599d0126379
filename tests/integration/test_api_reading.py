"""Reading: lists by page, one thing by id, and never another tenant's."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger import store
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.state import Event
from tests.support.customers import Customer
from tests.support.jobs import LazyNote, Note, UrgentNote, add, running
from tests.support.problems import assert_problem
from tests.support.web import Web


def add_contacts(engine: Engine, tenant: Customer, *names: str) -> None:
    with engine.begin() as tx:
        for name in names:
            tx.execute(
                text("INSERT INTO contacts (id, tenant_id, email) VALUES (:id, :tenant, :email)"),
                {"id": new_id(), "tenant": tenant.id, "email": f"{name}@example.com"},
            )


def all_pages(api: httpx.Client, path: str, **query: int) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        asked: dict[str, int | str] = {**query, **({"cursor": cursor} if cursor else {})}
        answer = api.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        pages.append([item["id"] for item in answer.json()["items"]])
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return pages


def test_jobs_come_newest_first_a_page_at_a_time(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx:
        made = enqueue_many(tx, tenant.id, [NewJob(job=Note()) for _ in range(7)])
    newest = sorted((str(one.id) for one in made), reverse=True)
    assert all_pages(api, "/v1/jobs", limit=3) == [newest[:3], newest[3:6], newest[6:]]
    assert all_pages(api, "/v1/jobs", limit=7) == [newest]


def test_imports_come_newest_first_a_page_at_a_time(api: httpx.Client) -> None:
    made = [
        api.post("/v1/imports", content=b"email\n", headers={"Content-Type": "text/csv"}).json()
        for _ in range(3)
    ]
    newest = [one["id"] for one in reversed(made)]
    assert all_pages(api, "/v1/imports", limit=2) == [newest[:2], newest[2:]]


def test_contacts_come_by_address_and_are_found_by_it(
    api: httpx.Client, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    add_contacts(engine, tenant, "c", "a", "b")
    add_contacts(engine, stranger, "a", "z")
    emails = [item["email"] for item in api.get("/v1/contacts").json()["items"]]
    assert emails == ["a@example.com", "b@example.com", "c@example.com"]
    assert [len(page) for page in all_pages(api, "/v1/contacts", limit=1)] == [1, 1, 1]
    (found,) = api.get("/v1/contacts", params={"email": " B@Example.com"}).json()["items"]
    assert found["email"] == "b@example.com"
    assert found["attributes"] == {}
    assert api.get("/v1/contacts", params={"email": "z@example.com"}).json()["items"] == []


def test_jobs_can_be_filtered(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    ended = running(engine, tenant.id, UrgentNote())
    with engine.begin() as tx:
        store.settle(tx, ended, Event.SUCCEED)
    add(engine, tenant.id, LazyNote())

    def kinds(**query: str) -> list[str]:
        return [job["kind"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert kinds() == ["test.lazy", "test.urgent"]
    assert kinds(state="succeeded") == ["test.urgent"]
    assert kinds(queue="low") == kinds(kind="test.lazy") == ["test.lazy"]
    assert kinds(queue="low", state="succeeded") == []


def test_a_job_tells_its_whole_life(api: httpx.Client, engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    error = {"code": "busy", "message": "try later", "traceback": "secret internals"}
    with engine.begin() as tx:
        store.progress(tx, job, done=3, total=4)
        store.settle(tx, job, Event.RETRY, delay_seconds=60, error=error)
    answer = api.get(f"/v1/jobs/{job.id}")
    shown = answer.json()
    assert [entry["event"] for entry in shown["history"]] == [
        "enqueue",
        "dispatch",
        "claim",
        "retry",
    ]
    assert shown["history"][-1]["error"] == {"code": "busy", "message": "try later", "type": None}
    assert shown["history"][2]["worker"] == "test@here"
    assert shown["progress"] == {"done": 3, "total": 4}
    assert shown["state"] == "scheduled"
    assert "secret internals" not in answer.text


@pytest.mark.parametrize("path", ["imports/{id}", "imports/{id}/rejected.csv", "jobs/{id}"])
def test_what_is_not_there_or_not_the_tenants_own_is_not_found(
    web: Web, api: httpx.Client, stranger: Customer, path: str
) -> None:
    with web.client(stranger.key) as theirs:
        headers = {"Content-Type": "text/csv"}
        made = theirs.post("/v1/imports", content=b"email\n", headers=headers).json()
        ids = {"imports": made["id"], "jobs": theirs.get("/v1/jobs").json()["items"][0]["id"]}
        their_path = "/v1/" + path.format(id=ids[path.split("/", maxsplit=1)[0]])
        assert theirs.get(their_path).status_code == 200
    assert_problem(api.get(their_path), 404, "not_found")
    assert_problem(api.get("/v1/" + path.format(id=new_id())), 404, "not_found")
    assert_problem(api.get("/v1/" + path.format(id="x")), 422, "invalid_parameters")
    for collection in ("/v1/imports", "/v1/jobs"):
        assert api.get(collection).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("content", "content_type", "field", "said"),
    [
        ('{"kind": "x"}', "application/x-www-form-urlencoded", "body", "Content-Type: application/json"),
        ("", "application/json", "body", "Send a JSON object."),
        ("[]", "application/json", "body", "Send a JSON object."),
        ("{bad", "application/json", "body", "character 1"),
        ('{"kind": "x", "run_at": "2026-01-01T00:00:00"}', "application/json", "body.run_at", "timezone"),
        ('{"kind": "x", "payload": {}, "unique_key": "\\u0000"}', "application/json", "body.unique_key", "Leave out"),
    ],
)  # fmt: skip
def test_a_body_at_fault_is_told_what_to_be(
    api: httpx.Client, content: str, content_type: str, field: str, said: str
) -> None:
    answer = api.post("/v1/jobs", content=content, headers={"Content-Type": content_type})
    assert_problem(answer, 422, "invalid_parameters")
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert said in error["message"]
    assert "Value error" not in error["message"]


def test_a_wrong_address_or_method_says_where_to_look(api: httpx.Client) -> None:
    for answer, status, code in (
        (api.get("/v1/nothing"), 404, "not_found"),
        (api.put("/v1/jobs", json={}), 405, "method_not_allowed"),
    ):
        assert_problem(answer, status, code)
        assert "/openapi.json" in answer.json()["detail"]
    assert api.get("/openapi.json").status_code == 200


PATHS = ["/v1/imports", "/v1/jobs", "/v1/contacts", f"/v1/jobs/{UUID(int=1)}"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_a_key(web: Web, api: httpx.Client, path: str) -> None:
    assert api.get(path).status_code in {200, 404}
    for wrong in ("", "Bearer", "Bearer mr_unknown", "Basic bXI6bXI="):
        with web.client(None) as nobody:
            answer = nobody.get(path, headers={"Authorization": wrong} if wrong else {})
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("imports", {"cursor": "%%%"}, 400, "invalid_cursor"),
        ("imports", {"cursor": "bm8tdXVpZA"}, 400, "invalid_cursor"),
        ("jobs", {"cursor": "x"}, 400, "invalid_cursor"),
        ("contacts", {"cursor": "_w"}, 400, "invalid_cursor"),
        ("contacts", {"cursor": "AA"}, 422, "invalid_text"),
        ("contacts", {"email": "\x00"}, 422, "invalid_text"),
        ("jobs", {"kind": "\x00"}, 422, "invalid_text"),
        ("contacts", {"cursor": "é"}, 400, "invalid_cursor"),
        ("jobs", {"limit": "0"}, 422, "invalid_parameters"),
        ("jobs", {"limit": "201"}, 422, "invalid_parameters"),
        ("jobs", {"state": "lost"}, 422, "invalid_parameters"),
        ("jobs", {"queue": "dead"}, 422, "invalid_parameters"),
    ],
)
def test_a_bad_question_gets_a_precise_answer(
    api: httpx.Client, path: str, query: dict[str, str], status: int, code: str
) -> None:
    assert_problem(api.get(f"/v1/{path}", params=query), status, code)


def test_an_unknown_path_and_a_wrong_method_are_problems_too(api: httpx.Client) -> None:
    assert_problem(api.get("/v1/nothing"), 404, "not_found")
    assert_problem(api.delete("/v1/imports"), 405, "method_not_allowed")
