"""A bad upload gets a precise answer and leaves nothing behind."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from sqlalchemy import Engine

from app.keys import revoke_key
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.servers import wait_for
from tests.support.web import Web

pytestmark = pytest.mark.long

LIMIT = 200_000
GOOD = b"email,name\na@example.com,Ada\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LARGE = b"email,name\n" + b"a@example.com,Ada\n" * (LIMIT // 18 + 1)

Send = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_UPLOAD_MAX_BYTES": str(LIMIT)}


def raw(body: bytes | Iterator[bytes], content_type: str = "text/csv", **query: str) -> Send:
    return lambda api: api.post(
        "/v1/imports", content=body, params=query, headers={"Content-Type": content_type}
    )


def form(file: bytes = GOOD, **fields: str) -> Send:
    return lambda api: api.post("/v1/imports", files={"file": ("c.csv", file)}, data=fields)


def chunked(body: bytes) -> Send:
    def blocks() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    def send(api: httpx.Client) -> httpx.Response:
        return raw(blocks())(api)

    return send


def parts(body: bytes, boundary: str = "line") -> Send:
    return raw(body, f"multipart/form-data; boundary={boundary}")


def part(name: str, content: bytes) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="c.csv"'
    return b"--line\r\n" + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--line--\r\n"

REFUSED: dict[str, tuple[Send, int, str]] = {
    "empty body": (raw(b""), 422, "empty_file"),
    "empty file in a form": (form(b""), 422, "empty_file"),
    "nothing but a mark": (raw(b"\xef\xbb\xbf"), 422, "empty_file"),
    "empty lines": (raw(b",,\n\n"), 422, "empty_file"),
    "no e-mail column": (raw(b"name,phone\nAda,1\n"), 422, "no_email_column"),
    "too large, said so": (raw(LARGE + b"x" * 1_100_000), 413, "too_large"),
    "too large by a little": (raw(LARGE), 413, "too_large"),
    "too large, chunked": (chunked(LARGE), 413, "too_large"),
    "too large, in a form": (form(LARGE), 413, "too_large"),
    "too large, unendingly": (chunked(LARGE * 20), 413, "too_large"),
    "a picture": (raw(PNG), 415, "not_a_table"),
    "a picture in a form": (form(PNG), 415, "not_a_table"),
    "a picture said to be a workbook": (raw(PNG, XLSX), 415, "not_a_table"),
    "a PDF document": (raw(b"%PDF-1.7\n" + bytes(range(256)) * 20), 415, "not_a_table"),
    "a web page": (raw(b"<!DOCTYPE html><html><body>Sign in</body></html>"), 415, "not_a_table"),
    "JSON said to be CSV": (raw(b'[{"email": "a@example.com"}]'), 415, "not_a_table"),
    "an empty archive": (raw(b"PK\x05\x06" + bytes(18), "application/zip"), 422, "empty_file"),
    "JSON": (raw(b"{}", "application/json"), 415, "unsupported_media_type"),
    "no content type": (raw(GOOD, ""), 415, "unsupported_media_type"),
    "a form without a boundary": (raw(GOOD, "multipart/form-data"), 400, "invalid_form"),
    "a form that is none": (parts(b"email\n"), 400, "invalid_form"),
    "a form that never ends": (parts(part("file", GOOD)), 400, "incomplete_body"),
    "a form cut in its headers": (parts(part("file", GOOD)[:40]), 400, "incomplete_body"),
    "an empty form": (parts(b""), 400, "incomplete_body"),
    "two files": (parts(part("file", GOOD) * 2 + END), 400, "two_files"),
    "no file": (parts(part("mapping", b"{}") + END), 400, "no_file"),
    "an overlong field": (parts(part("mapping", b"x" * 300_000) + END), 400, "field_too_large"),
    "overlong headers": (parts(part("x" * 20_000, b"") + END), 400, "invalid_form"),
    "a mapping that is no JSON": (form(mapping="email"), 422, "invalid_mapping"),
    "a mapping that is a list": (form(mapping="[]"), 422, "invalid_mapping"),
    "a mapping to numbers": (form(mapping='{"email": 1}'), 422, "invalid_mapping"),
    "a mapping of no column": (form(mapping='{"fax": "email"}'), 422, "invalid_mapping"),
    "a mapping to no field": (form(mapping='{"email": "fax"}'), 422, "invalid_mapping"),
    "a bad mapping in the query": (raw(GOOD, mapping="{"), 422, "invalid_mapping"),
    "an unknown option": (form(options='{"fast": true}'), 422, "invalid_options"),
    "an unknown target": (form(options='{"target": "planets"}'), 422, "invalid_options"),
    "an unknown policy": (raw(GOOD, options='{"policy": "merge"}'), 422, "invalid_options"),
    "options that are no JSON": (form(options="fast"), 422, "invalid_options"),
    "a NUL in the file name": (raw(GOOD, filename="a\x00.csv"), 422, "invalid_text"),
    "an overlong file name": (raw(GOOD, filename="x" * 300), 422, "invalid_parameters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    case: str, api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    send, status, code = REFUSED[case]
    assert_problem(send(api), status, code)
    assert_nothing_left(engine, storage)


@pytest.mark.parametrize("key", [None, "mr_wrong", "revoked"])
def test_without_a_key_in_force_nothing_is_taken(
    key: str | None, web: Web, tenant: Customer, engine: Engine, storage: Storage
) -> None:
    if key == "revoked":
        with engine.begin() as tx:
            revoke_key(tx, tenant.key_id)
        key = tenant.key
    with web.client(key) as client:
        answer = raw(GOOD)(client)
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert_nothing_left(engine, storage)


def head(tenant: Customer, *lines: str) -> bytes:
    first = ["POST /v1/imports HTTP/1.1", "Host: test", f"Authorization: Bearer {tenant.key}"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Type: text/csv", "Content-Length: 1000"], GOOD),
        (["Content-Type: text/csv", "Transfer-Encoding: chunked"], b"1d\r\n" + GOOD + b"\r\n"),
        (
            ["Content-Type: multipart/form-data; boundary=line", "Content-Length: 1000"],
            part("file", GOOD),
        ),
    ],
)
def test_a_body_that_breaks_off_leaves_nothing(
    web: Web,
    tenant: Customer,
    engine: Engine,
    storage: Storage,
    headers: list[str],
    body: bytes,
) -> None:
    with web.connect() as connection:
        connection.sendall(head(tenant, *headers) + body)
        wait_for(lambda: web.busy, what="the request's beginning")
    wait_for(lambda: not web.busy, what="the request's end")
    assert_nothing_left(engine, storage)


def test_two_seconds_of_silence_are_no_end_of_the_body(web: Web, tenant: Customer) -> None:
    """A slow client's file is whole when it is: the header arrives byte by byte."""
    with web.connect() as connection:
        connection.sendall(head(tenant, "Content-Type: text/csv", f"Content-Length: {len(GOOD)}"))
        for byte in GOOD:
            connection.sendall(bytes([byte]))
        assert connection.recv(12) == b"HTTP/1.1 202"


def test_a_first_block_that_ends_inside_a_character_is_taken(web: Web, tenant: Customer) -> None:
    body = "email,prénom\na@example.com,Zoé\n".encode()
    cut = body.index(b"\xc3") + 1
    with web.connect() as connection:
        connection.sendall(
            head(tenant, "Content-Type: text/csv", "Transfer-Encoding: chunked")
            + b"%x\r\n%b\r\n" % (cut, body[:cut])
        )
        wait_for(lambda: web.busy, what="the request's beginning")
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - cut, body[cut:]))
        assert connection.recv(12) == b"HTTP/1.1 202"


class TestLarge:
    """Files of several parts, whose multipart upload is open when the fault shows."""

    MIB = 1024 * 1024

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        more = {"UPLOAD_MAX_BYTES": 12 * self.MIB, "UPLOAD_PART_BYTES": 5 * self.MIB}
        return {**environment, **{f"MILLRACE_{name}": str(value) for name, value in more.items()}}

    def rows(self, header: bytes, size: int) -> bytes:
        line = b"someone@example.com," + b"x" * 43 + b"\n"
        return header + line * (size // len(line))

    def test_over_the_limit_at_its_end(
        self, api: httpx.Client, engine: Engine, storage: Storage
    ) -> None:
        large = self.rows(b"email,name\n", 12 * self.MIB + 100)
        assert_problem(chunked(large)(api), 413, "too_large")
        assert_nothing_left(engine, storage)

    def test_without_an_email_column(
        self, api: httpx.Client, engine: Engine, storage: Storage
    ) -> None:
        large = b"name,note\n" + b"Ada,somewhat long, and no address\n" * (self.MIB // 3)
        assert_problem(form(large)(api), 422, "no_email_column")
        assert_nothing_left(engine, storage)

    def test_broken_off(self, web: Web, tenant: Customer, engine: Engine, storage: Storage) -> None:
        body = self.rows(b"email,name\n", 7 * self.MIB)
        with web.connect() as connection:
            connection.sendall(
                head(tenant, "Content-Type: text/csv", f"Content-Length: {11 * self.MIB}") + body
            )
            wait_for(storage.open_uploads, what="the multipart upload")
        wait_for(lambda: not web.busy, what="the request's end")
        assert_nothing_left(engine, storage)

    def test_a_good_one_is_stored_whole(
        self, api: httpx.Client, storage: Storage, tenant: Customer
    ) -> None:
        body = self.rows(b"email,name\n", 11 * self.MIB)
        answer = chunked(body)(api)
        assert answer.status_code == 202
        assert storage.open_uploads() == []
        (key,) = storage.keys(f"tenants/{tenant.id}/")
        assert b"".join(storage.stream(key)) == body
