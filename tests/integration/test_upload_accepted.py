"""A good upload: 202, a place to watch, the file in S3, and the work in the ledger; once per key."""

import hashlib
import threading

import httpx
import pytest
from sqlalchemy import Engine, text

from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.web import Web

CSV = "email,prénom\na@example.com,Zoé\n".encode()


def post(
    api: httpx.Client, body: bytes = CSV, *, key: str | None = None, **query: str
) -> httpx.Response:
    headers = {"Content-Type": "text/csv"} | ({"Idempotency-Key": key} if key else {})
    return api.post("/v1/imports", content=body, params=query, headers=headers)


def stored_import(engine: Engine, import_id: str) -> dict[str, object]:
    with engine.connect() as tx:
        query = text("SELECT * FROM imports WHERE id = :id")
        return dict(tx.execute(query, {"id": import_id}).one()._mapping)


def test_a_raw_body_is_stored_and_work_begins(
    api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    answer = post(api, filename="people.csv")
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["location"] == f"/v1/imports/{accepted['id']}"
    assert api.get(answer.headers["location"]).json() == accepted
    assert (accepted["status"], accepted["filename"]) == ("queued", "people.csv")
    assert accepted["progress"] == {
        "percent": 0.0,
        "rows_done": 0,
        "bytes_done": 0,
        "bytes_total": len(CSV),
        "rows_per_second": None,
        "seconds_left": None,
    }
    assert set(accepted["counts"].values()) == {0}
    row = stored_import(engine, accepted["id"])
    assert row["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert row["columns"] == ["email", "prénom"]
    (key,) = storage.keys(f"tenants/{tenant.id}/")
    assert b"".join(storage.stream(key)) == CSV
    jobs = api.get("/v1/jobs").json()["items"]
    assert [(job["kind"], job["state"]) for job in jobs] == [("import.plan", "scheduled")]
    assert count(engine, "outbox") == 1


def test_a_form_with_a_file_name_and_a_mapping(api: httpx.Client, engine: Engine) -> None:
    body = b"\xef\xbb\xbfWho,Where to\nAda,a@example.com\n"
    answer = api.post(
        "/v1/imports",
        files={"file": ("Fälle 2.csv", body, "application/vnd.ms-excel")},
        data={"mapping": '{"where to": "email", "Who": "first_name"}', "options": "{}"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["filename"] == "Fälle 2.csv"
    row = stored_import(engine, answer.json()["id"])
    assert row["columns"] == ["Who", "Where to"]
    assert row["fields"] == ["first_name", "email"]
    assert row["bytes_total"] == len(body)


def test_a_mapping_may_come_after_the_file_or_in_the_query(
    api: httpx.Client, engine: Engine
) -> None:
    mapping = '{"x": "email"}'
    body = (
        b'--line\r\nContent-Disposition: form-data; name="file"; filename="c.csv"\r\n\r\nx\n1\n\r\n'
        b'--line\r\nContent-Disposition: form-data; name="mapping"\r\n\r\n'
        + mapping.encode()
        + b"\r\n--line--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=line"}
    answers = [
        api.post("/v1/imports", content=body, headers=headers),
        post(api, b"x\n1\n", mapping=mapping),
    ]
    for answer in answers:
        assert answer.status_code == 202, answer.text
        assert stored_import(engine, answer.json()["id"])["fields"] == ["email"]


def test_a_header_alone_is_an_import_of_nothing(api: httpx.Client) -> None:
    assert post(api, b"email").status_code == 202


def test_the_same_key_and_file_get_the_same_answer_and_one_import(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    first, second = post(api, key="k1"), post(api, key="k1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert count(engine, "imports") == count(engine, "jobs") == len(storage.keys()) == 1


@pytest.mark.parametrize(
    "other", [{"body": CSV + b"b@example.com,B\n"}, {"filename": "b.csv"}, {"mapping": "{}"}]
)
def test_the_same_key_with_another_request_is_refused(
    api: httpx.Client, engine: Engine, storage: Storage, other: dict[str, bytes | str]
) -> None:
    assert post(api, key="k1", mapping='{"prénom": "first_name"}').status_code == 202
    asked: dict[str, bytes | str] = {"mapping": '{"prénom": "first_name"}', **other}
    answer = post(api, key="k1", **asked)  # type: ignore[arg-type]
    assert_problem(answer, 422, "idempotency_key_reused")
    assert count(engine, "imports") == len(storage.keys()) == 1


def test_keys_are_each_tenants_own(
    web: Web, tenant: Customer, stranger: Customer, engine: Engine
) -> None:
    with web.client(tenant.key) as mine, web.client(stranger.key) as theirs:
        assert post(mine, key="k1").json()["id"] != post(theirs, key="k1").json()["id"]
    assert count(engine, "imports") == 2


def test_a_refused_request_uses_up_no_key(api: httpx.Client) -> None:
    assert post(api, b"", key="k1").status_code == 422
    assert post(api, key="k1").status_code == 202


def test_of_many_at_once_with_one_key_one_import_is_made(
    web: Web, tenant: Customer, engine: Engine, storage: Storage
) -> None:
    together = threading.Barrier(6)
    answers: list[httpx.Response] = []

    def send() -> None:
        with web.client(tenant.key) as client:
            together.wait(10)
            answers.append(post(client, key="same"))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(engine, "imports") == count(engine, "jobs") == len(storage.keys()) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_a_wrong_length_is_refused(api: httpx.Client, key: str) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": key}
    answer = api.post("/v1/imports", content=CSV, headers=headers)
    assert_problem(answer, 422, "invalid_parameters")
