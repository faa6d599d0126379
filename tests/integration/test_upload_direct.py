"""A file that goes straight into the store by presigned parts: resumed, checked, imported once, or gone."""

import hashlib
import socket
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine, text

from app.housekeeping.janitor import Janitor
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.servers import wait_for
from tests.support.web import Web

pytestmark = pytest.mark.long

MIB = 1024 * 1024
CSV = b"email,name\na@example.com,Ada\nb@example.com,Bob\n"
PART = 5 * MIB


def rows(size: int, header: bytes = b"email,name\n") -> bytes:
    """A CSV file of about `size` bytes."""
    line = b"someone@example.com," + b"x" * 43 + b"\n"
    return header + line * (size // len(line))


LARGE = rows(12 * MIB)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    more = {"UPLOAD_PART_BYTES": PART, "UPLOAD_MAX_BYTES": 20 * MIB}
    return {**environment, **{f"MILLRACE_{name}": str(value) for name, value in more.items()}}


@dataclass
class Sender:
    """Announces `data` and sends its parts as a browser would: a plain PUT to each URL."""

    api: httpx.Client
    data: bytes

    def announce(self, **more: Any) -> dict[str, Any]:
        body = {"filename": "people.csv", "size": len(self.data), **more}
        answer = self.api.post("/v1/uploads", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"/v1/uploads/{answer.json()['id']}"
        upload: dict[str, Any] = answer.json()
        return upload

    def bytes_of(self, upload: dict[str, Any], part: dict[str, Any]) -> bytes:
        start = (part["number"] - 1) * upload["part_bytes"]
        return self.data[start : start + part["size"]]

    def send(self, upload: dict[str, Any], *numbers: int) -> dict[int, str]:
        """Those parts, or all; their etags."""
        etags = {}
        for part in upload["parts"]:
            if not numbers or part["number"] in numbers:
                sent = put(part["url"], self.bytes_of(upload, part))
                assert sent.status_code == 200, sent.text
                etags[part["number"]] = sent.headers["etag"]
        return etags

    def complete(self, upload: dict[str, Any], **body: Any) -> httpx.Response:
        return self.api.post(f"/v1/uploads/{upload['id']}/complete", json=body or None)

    def look(self, upload: dict[str, Any]) -> dict[str, Any]:
        answer = self.api.get(f"/v1/uploads/{upload['id']}")
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen


def put(url: str, data: bytes) -> httpx.Response:
    """By somebody who has the URL and nothing else."""
    return httpx.put(url, content=data, timeout=30, trust_env=False)


def break_off(url: str, data: bytes, after: int) -> None:
    """Send `after` bytes of a part, and then no more."""
    parts = urlsplit(url)
    with socket.create_connection(
        (str(parts.hostname), parts.port or 80), timeout=20
    ) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data))
        connection.sendall(data[:after])


@pytest.fixture
def small(api: httpx.Client) -> Sender:
    return Sender(api, CSV)


@pytest.fixture
def large(api: httpx.Client) -> Sender:
    return Sender(api, LARGE)


def test_a_file_in_parts_becomes_an_import(
    large: Sender, api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    upload = large.announce()
    assert [part["size"] for part in upload["parts"]] == [PART, PART, len(LARGE) - 2 * PART]
    assert (upload["status"], upload["part_bytes"], upload["received"]) == ("open", PART, [])
    large.send(upload)
    answer = large.complete(upload)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/imports/{made['id']}"
    assert api.get(answer.headers["location"]).json() == made
    assert (made["status"], made["filename"]) == ("queued", "people.csv")
    assert made["progress"]["bytes_total"] == len(LARGE)
    (key,) = storage.keys(f"tenants/{tenant.id}/")
    assert b"".join(storage.stream(key)) == LARGE
    assert storage.open_uploads() == []
    jobs = api.get("/v1/jobs").json()["items"]
    assert [(job["kind"], job["state"]) for job in jobs] == [("import.plan", "scheduled")]
    done = large.look(upload)
    assert (done["status"], done["import_id"], done["parts"]) == ("completed", made["id"], [])


def test_a_small_file_is_one_part(small: Sender) -> None:
    upload = small.announce()
    assert [(part["number"], part["size"]) for part in upload["parts"]] == [(1, len(CSV))]
    small.send(upload)
    assert small.complete(upload).status_code == 202


def test_an_upload_that_broke_off_is_resumed(large: Sender, storage: Storage) -> None:
    upload = large.announce()
    large.send(upload, 1)
    second = upload["parts"][1]
    break_off(second["url"], large.bytes_of(upload, second), 2 * MIB)
    wait_for(lambda: len(large.look(upload)["parts"]) == 2)
    seen = large.look(upload)
    assert [part["number"] for part in seen["received"]] == [1]
    assert [part["number"] for part in seen["parts"]] == [2, 3]
    assert_problem(large.complete(upload), 409, "missing_parts")
    large.send(seen)
    answer = large.complete(upload)
    assert answer.status_code == 202, answer.text
    (key,) = storage.keys()
    assert b"".join(storage.stream(key)) == LARGE


def test_parts_may_come_in_any_order_and_be_named(large: Sender, storage: Storage) -> None:
    upload = large.announce()
    etags = large.send(upload, 3) | large.send(upload, 1) | large.send(upload, 2)
    told = [{"number": number, "etag": etag} for number, etag in etags.items()]
    assert large.complete(upload, parts=told).status_code == 202
    (key,) = storage.keys()
    assert b"".join(storage.stream(key)) == LARGE


def test_parts_that_are_not_what_the_sender_says_are_not_taken(small: Sender) -> None:
    upload = small.announce()
    small.send(upload)
    wrong = [{"number": 1, "etag": '"0cc175b9c0f1b6a831c399e269772661"'}]
    assert_problem(small.complete(upload, parts=wrong), 409, "wrong_parts")
    assert [part["number"] for part in small.look(upload)["received"]] == [1]
    assert small.complete(upload).status_code == 202


def test_a_part_of_another_size_is_not_taken(large: Sender, engine: Engine) -> None:
    upload = large.announce()
    large.send(upload, 1, 2)
    assert put(upload["parts"][2]["url"], b"short").status_code == 200
    assert_problem(large.complete(upload), 409, "wrong_parts")
    seen = large.look(upload)
    assert [part["number"] for part in seen["parts"]] == [3]
    assert (seen["status"], count(engine, "imports")) == ("open", 0)


def test_completing_twice_is_the_same_import(
    small: Sender, api: httpx.Client, engine: Engine
) -> None:
    upload = small.announce()
    small.send(upload)
    first, second = small.complete(upload), small.complete(upload)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["location"] == first.headers["location"]
    assert count(engine, "imports") == count(engine, "jobs") == 1


def test_completing_at_the_same_time_is_one_import(
    web: Web, tenant: Customer, small: Sender, engine: Engine
) -> None:
    upload = small.announce()
    small.send(upload)
    answers: list[httpx.Response] = []

    def complete() -> None:
        with web.client(tenant.key) as client:
            answers.append(Sender(client, CSV).complete(upload))

    threads = [threading.Thread(target=complete) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [202] * 6, [a.text for a in answers]
    assert {answer.json()["id"] for answer in answers} == {upload["id"]}
    assert count(engine, "imports") == count(engine, "jobs") == 1


def test_a_completion_that_broke_off_is_completed_by_the_next(
    small: Sender, storage: Storage, engine: Engine
) -> None:
    """The store has made one object of the parts, and nobody has recorded it."""
    upload = small.announce()
    small.send(upload)
    with engine.connect() as tx:
        row = tx.execute(text("SELECT object_key, multipart_id FROM uploads")).one()
    parts = storage.list_parts(row.object_key, row.multipart_id)
    assert parts is not None
    storage.complete_multipart(row.object_key, row.multipart_id, parts)
    seen = small.look(upload)
    assert (seen["status"], seen["parts"]) == ("open", [])
    assert small.complete(upload).status_code == 202
    assert count(engine, "imports") == 1


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"name,phone\nAda,1\n", 422, "no_email_column"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, 415, None),
    ],
)
def test_a_file_that_cannot_be_imported_is_deleted_and_the_upload_says_so(
    api: httpx.Client,
    engine: Engine,
    storage: Storage,
    data: bytes,
    status: int,
    code: str | None,
) -> None:
    sender = Sender(api, data)
    upload = sender.announce()
    sender.send(upload)
    posted = api.post("/v1/imports", content=data, headers={"Content-Type": "text/csv"})
    code = code or posted.json()["type"].rpartition(":")[2]
    assert_problem(posted, status, code)
    for _ in range(2):
        refused = sender.complete(upload)
        assert_problem(refused, status, code)
        assert refused.json()["detail"] == posted.json()["detail"]
        assert_nothing_left(engine, storage)
    seen = sender.look(upload)
    assert (seen["status"], seen["error"]["code"]) == ("refused", code)
    assert api.delete(f"/v1/uploads/{upload['id']}").status_code == 204
    assert count(engine, "uploads") == 0


def test_the_mapping_and_the_options_are_the_imports(api: httpx.Client) -> None:
    sender = Sender(api, b"Who;Where\nAda;a@example.com\n")
    upload = sender.announce(mapping={"Where": "email"}, options={"dry_run": True})
    sender.send(upload)
    made = sender.complete(upload).json()
    assert made["columns"][1] == {"name": "Where", "field": "email"}
    assert made["dry_run"] is True


def test_what_is_given_up_leaves_nothing(
    large: Sender, api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    upload = large.announce()
    large.send(upload, 1)
    assert api.delete(f"/v1/uploads/{upload['id']}").status_code == 204
    assert_nothing_left(engine, storage)
    assert count(engine, "uploads") == 0
    assert put(upload["parts"][1]["url"], b"late").status_code == 404
    for call in (large.api.get, large.api.delete):
        assert_problem(call(f"/v1/uploads/{upload['id']}"), 404, "not_found")
    assert_problem(large.complete(upload), 404, "not_found")


def test_what_is_completed_cannot_be_given_up(
    small: Sender, api: httpx.Client, storage: Storage
) -> None:
    upload = small.announce()
    small.send(upload)
    small.complete(upload)
    assert_problem(api.delete(f"/v1/uploads/{upload['id']}"), 409, "conflict")
    assert len(storage.keys()) == 1


def test_the_same_key_opens_one_upload(api: httpx.Client, engine: Engine, storage: Storage) -> None:
    body = {"filename": "c.csv", "size": 100}
    headers = {"Idempotency-Key": "k1"}
    first, second = (api.post("/v1/uploads", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["id"] == first.json()["id"]
    assert len(second.json()["parts"]) == 1
    assert count(engine, "uploads") == len(storage.open_uploads()) == 1
    other = api.post("/v1/uploads", json={**body, "size": 101}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"filename": "c.csv", "size": 0}, 422, "empty_file"),
        ({"filename": "c.csv", "size": 20 * MIB + 1}, 413, "too_large"),
        ({"filename": "c.csv", "size": -1}, 422, "invalid_parameters"),
        ({"filename": "c.csv"}, 422, "invalid_parameters"),
        ({"size": 10}, 422, "invalid_parameters"),
        ({"filename": "a\x00.csv", "size": 10}, 422, "invalid_parameters"),
        ({"filename": "c.csv", "size": 10, "sha256": "abc"}, 422, "invalid_parameters"),
        ({"filename": "c.csv", "size": 10, "options": {"fast": 1}}, 422, "invalid_options"),
        ({"filename": "c.csv", "size": 10, "mapping": {"x": "fax"}}, 422, "invalid_mapping"),
        ({"filename": "c.csv", "size": 10, "mapping": {"x": 1}}, 422, "invalid_parameters"),
    ],
)
def test_what_cannot_come_to_anything_is_not_begun(
    api: httpx.Client,
    engine: Engine,
    storage: Storage,
    body: dict[str, Any],
    status: int,
    code: str,
) -> None:
    assert_problem(api.post("/v1/uploads", json=body), status, code)
    assert_nothing_left(engine, storage)
    assert count(engine, "uploads") == 0


def test_nobody_else_sees_it(web: Web, small: Sender, stranger: Customer) -> None:
    upload = small.announce()
    small.send(upload)
    with web.client(stranger.key) as theirs:
        path = f"/v1/uploads/{upload['id']}"
        assert_problem(theirs.get(path), 404, "not_found")
        assert_problem(theirs.post(f"{path}/complete"), 404, "not_found")
        assert_problem(theirs.delete(path), 404, "not_found")
    assert small.complete(upload).status_code == 202


def test_a_url_is_good_for_its_own_part_alone(small: Sender) -> None:
    url = small.announce()["parts"][0]["url"]
    assert put(url.replace("partNumber=1", "partNumber=2"), CSV).status_code == 403
    assert httpx.get(url, trust_env=False).status_code == 403
    assert put(url, CSV).status_code == 200


def test_what_is_never_completed_is_cleared_away(
    small: Sender, engine: Engine, storage: Storage, settings: Settings
) -> None:
    abandoned, done = small.announce(), small.announce()
    small.send(abandoned)
    small.send(done)
    assert small.complete(done).status_code == 202
    at_once = settings.model_copy(update={"upload_abandoned_seconds": -60.0})
    Janitor(settings, storage, engine).step()
    assert small.look(abandoned)["status"] == "open"
    Janitor(at_once, storage, engine).step()
    assert_problem(small.complete(abandoned), 404, "not_found")
    assert (count(engine, "uploads"), storage.open_uploads()) == (1, [])
    assert small.look(done)["status"] == "completed"
    assert len(storage.keys()) == 1


def test_its_time_is_over_also_before_it_is_cleared_away(small: Sender, engine: Engine) -> None:
    upload = small.announce()
    with engine.begin() as tx:
        tx.execute(text("UPDATE uploads SET created_at = created_at - interval '2 days'"))
    assert_problem(small.api.get(f"/v1/uploads/{upload['id']}"), 404, "not_found")
    assert_problem(small.complete(upload), 404, "not_found")


def test_a_checksum_is_left_to_the_plan(small: Sender, engine: Engine) -> None:
    announced = hashlib.sha256(CSV).hexdigest()
    upload = small.announce(sha256=announced)
    small.send(upload)
    assert small.complete(upload).status_code == 202
    with engine.connect() as tx:
        row = tx.execute(text("SELECT sha256, checksum_wanted, source FROM imports")).one()
    assert tuple(row) == (None, announced, "direct")
