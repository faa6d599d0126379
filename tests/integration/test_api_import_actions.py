"""What a person does about an import, over HTTP: cancel, undo, retry, and the files that it leaves."""

import csv
import io
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from app.ids import new_id
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import contacts, run_imports
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported

CSV = b"email,name\na@example.com,Ada\nnobody,=1+1\nb@example.com,Bob\nno one,x\n"


def post(api: httpx.Client, body: bytes = CSV, **options: Any) -> str:
    answer = api.post(
        "/v1/imports",
        content=body,
        params={"options": json.dumps(options)},
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 202, answer.text
    import_id: str = answer.json()["id"]
    return import_id


@pytest.fixture
def done(api: httpx.Client, engine: Engine, worker: Worker) -> str:
    """An import that has ended: two rows in, two rejected."""
    import_id = post(api)
    run_imports(worker, engine)
    shown = api.get(f"/v1/imports/{import_id}").json()
    assert shown["status"] == "succeeded", shown["error"]
    assert (shown["counts"]["inserted"], shown["counts"]["rejected"]) == (2, 2)
    return import_id


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment;")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_cancel_ends_an_import_and_may_be_repeated(
    api: httpx.Client, engine: Engine, worker: Worker, tenant: Customer
) -> None:
    import_id = post(api)
    for _ in range(2):
        answer = api.post(f"/v1/imports/{import_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        assert answer.headers["location"] == f"/v1/imports/{import_id}"
    run_imports(worker, engine)
    assert contacts(engine, tenant.id) == {}
    assert api.get(f"/v1/imports/{import_id}").json()["status"] == "cancelled"


def test_undo_takes_back_what_was_imported(
    api: httpx.Client, engine: Engine, worker: Worker, tenant: Customer, done: str
) -> None:
    answer = api.post(f"/v1/imports/{done}/undo")
    assert answer.status_code == 202, answer.text
    assert answer.json()["undo"]["status"] == "running"
    run_imports(worker, engine)
    assert contacts(engine, tenant.id) == {}
    undo = api.get(f"/v1/imports/{done}").json()["undo"]
    assert (undo["status"], undo["removed"], undo["kept"]) == ("succeeded", 2, 0)
    assert table(api.get(f"/v1/imports/{done}/undo.csv")) == []
    assert_problem(api.post(f"/v1/imports/{done}/undo"), 409, "conflict")


def test_undo_with_a_key_may_be_repeated(api: httpx.Client, done: str) -> None:
    headers = {"Idempotency-Key": "k1"}
    answers = [api.post(f"/v1/imports/{done}/undo", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


def test_rejected_rows_are_fetched_corrected_and_sent_again(
    api: httpx.Client, engine: Engine, worker: Worker, tenant: Customer, done: str
) -> None:
    fetched = api.get(f"/v1/imports/{done}/rejected.csv")
    rows = table(fetched)
    assert [(row["email"], row["name"], row["_row"]) for row in rows] == [
        ("nobody", "'=1+1", "3"),
        ("no one", "x", "5"),
    ]
    corrected = fetched.text.replace("no one", "c@example.com")
    answer = api.post(
        f"/v1/imports/{done}/retry",
        files={"file": ("corrected.csv", corrected.encode())},
        headers={"Idempotency-Key": "k1"},
    )
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/imports/{made['id']}"
    assert (made["retry_of"], made["id"] != done) == (done, True)
    run_imports(worker, engine)
    shown = api.get(answer.headers["location"]).json()
    assert (shown["status"], shown["error"]) == ("succeeded", None)
    assert (shown["counts"]["inserted"], shown["counts"]["rejected"]) == (1, 1)
    assert set(contacts(engine, tenant.id)) == {"a@example.com", "b@example.com", "c@example.com"}


@pytest.mark.parametrize("body", [None, {}, {"options": {"policy": "insert"}}])
def test_rejected_rows_are_tried_again_as_they_were(
    api: httpx.Client, engine: Engine, worker: Worker, done: str, body: dict[str, Any] | None
) -> None:
    answer = api.post(f"/v1/imports/{done}/retry", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["policy"] == ("insert" if body else "upsert")
    run_imports(worker, engine)
    shown = api.get(answer.headers["location"]).json()
    assert (shown["status"], shown["counts"]["rejected"]) == ("succeeded", 2), shown


def test_a_retry_with_a_key_is_one_import(api: httpx.Client, engine: Engine, done: str) -> None:
    headers = {"Idempotency-Key": "k1"}
    path = f"/v1/imports/{done}/retry"
    first, second = (api.post(path, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert count(engine, "imports") == 2
    other = api.post(path, json={"mapping": {"name": "company"}}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{", "application/json", 422, "invalid_parameters"),
        (b'{"rows": [1]}', "application/json", 422, "invalid_parameters"),
        (b'{"options": {"fast": 1}}', "application/json", 422, "invalid_options"),
        (b'{"mapping": {"fax": "phone"}}', "application/json", 422, "invalid_mapping"),
        (b"email,name\nc@example.com,Cy\n", "text/csv", 422, "no_row_column"),
        (b"", "text/csv", 422, "empty_file"),
        (b"<x/>", "application/xml", 415, "unsupported_media_type"),
    ],
)
def test_a_bad_retry_leaves_nothing(
    api: httpx.Client,
    engine: Engine,
    storage: Storage,
    done: str,
    content: bytes,
    media_type: str,
    status: int,
    code: str,
) -> None:
    before = storage.keys()
    answer = api.post(
        f"/v1/imports/{done}/retry", content=content, headers={"Content-Type": media_type}
    )
    assert_problem(answer, status, code)
    assert count(engine, "imports") == 1
    assert (storage.keys(), storage.open_uploads()) == (before, [])


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    api: httpx.Client, engine: Engine, worker: Worker, tenant: Customer, done: str
) -> None:
    before = contacts(engine, tenant.id)
    dry = post(api, CSV.replace(b"Ada", b"Augusta") + b"n@example.com,Nina\n", dry_run=True)
    run_imports(worker, engine)
    shown = api.get(f"/v1/imports/{dry}").json()
    assert (shown["status"], shown["dry_run"]) == ("succeeded", True)
    assert {name: shown["counts"][name] for name in ("inserted", "updated", "unchanged")} == {
        "inserted": 1,
        "updated": 1,
        "unchanged": 1,
    }
    changes = table(api.get(f"/v1/imports/{dry}/changes.csv"))
    assert {(row["action"], row["key"]) for row in changes} == {
        ("insert", "n@example.com"),
        ("update", "a@example.com"),
    }
    assert contacts(engine, tenant.id) == before
    assert_problem(api.post(f"/v1/imports/{dry}/undo"), 409, "conflict")
    assert_problem(api.post(f"/v1/imports/{dry}/retry"), 409, "conflict")
    assert_problem(api.get(f"/v1/imports/{done}/changes.csv"), 409, "conflict")


def test_what_has_not_ended_can_neither_be_undone_nor_retried(api: httpx.Client) -> None:
    import_id = post(api)
    for action in ("undo", "retry"):
        assert_problem(api.post(f"/v1/imports/{import_id}/{action}"), 409, "conflict")
    assert_problem(api.get(f"/v1/imports/{import_id}/undo.csv"), 409, "conflict")


def test_what_has_ended_cannot_be_cancelled(api: httpx.Client, done: str) -> None:
    assert_problem(api.post(f"/v1/imports/{done}/cancel"), 409, "conflict")


CALLS = [
    ("POST", "cancel"),
    ("POST", "undo"),
    ("POST", "retry"),
    ("GET", "rejected.csv"),
    ("GET", "changes.csv"),
    ("GET", "undo.csv"),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_another_tenants_import_is_not_there(
    web: Web, api: httpx.Client, stranger: Customer, method: str, call: str
) -> None:
    theirs = UUID(post(api))
    with web.client(stranger.key) as other:
        for import_id in (theirs, new_id()):
            answer = other.request(method, f"/v1/imports/{import_id}/{call}")
            assert_problem(answer, 404, "not_found")


def test_targets_are_listed_with_their_fields(api: httpx.Client) -> None:
    items = {item["name"]: item for item in api.get("/v1/targets").json()["items"]}
    assert {"contacts", "products"} <= set(items)
    assert (items["contacts"]["key"], items["contacts"]["attributes"]) == ("email", True)
    first = items["contacts"]["fields"][0]
    assert (first["name"], first["type"], first["required"]) == ("email", "email", True)
    assert first["label"]
