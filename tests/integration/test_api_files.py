"""Files through the API: taken for what they are, watched, fetched by links, deleted; each tenant's own."""

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine

from app.files.decoding import SandboxLost
from app.settings import Settings
from app.storage import Storage
from tests.support.clamd import BYTES, ClamdServer
from tests.support.customers import Customer
from tests.support.documents import pdf, word
from tests.support.files import run_files
from tests.support.jobs import count
from tests.support.pictures import encoded, halves, heic_photo, opened
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported

PNG = encoded(halves(), "PNG")
JPEG = encoded(halves(), "JPEG")
SMALL = [{"name": "small", "width": 60, "height": 60, "format": "jpeg"}]


def post(
    api: httpx.Client, data: bytes, kind: str = "application/octet-stream", **query: Any
) -> httpx.Response:
    key = query.pop("key", None)
    headers = {"Content-Type": kind} | ({"Idempotency-Key": key} if key else {})
    return api.post("/v1/files", content=data, params=query, headers=headers)


def test_a_picture_from_upload_to_link(
    api: httpx.Client, worker: Worker, engine: Engine, storage: Storage
) -> None:
    answer = api.post(
        "/v1/files",
        files={"file": ("IMG 1.png", PNG, "image/png")},
        data={"variants": json.dumps(SMALL)},
    )
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    where = answer.headers["location"]
    assert where == f"/v1/files/{accepted['id']}"
    assert (accepted["state"], accepted["type"], accepted["filename"]) == (
        "uploaded",
        "image/png",
        "IMG 1.png",
    )
    assert [each["state"] for each in accepted["variants"]] == ["waiting"]
    assert_problem(api.get(f"{where}/variants/small"), 409, "not_ready")
    run_files(worker, engine)
    shown = api.get(where).json()
    (variant,) = shown["variants"]
    assert (variant["state"], variant["width"], variant["height"]) == ("done", 60, 40)
    assert (shown["width"], shown["height"], shown["text"]) == (600, 400, None)
    link = api.get(f"{where}/variants/small")
    assert link.status_code == 307
    for url in (link.headers["location"], variant["url"]):
        fetched = httpx.get(url, trust_env=False)
        assert fetched.headers["content-type"] == "image/jpeg"
        assert opened(fetched.content).size == (60, 40)
    assert httpx.get(shown["url"], trust_env=False).content == PNG
    assert_problem(api.get(f"{where}/variants/none"), 404, "not_found")
    assert_problem(api.get(f"{where}/text"), 404, "not_found")


def test_a_document_and_its_text(api: httpx.Client, worker: Worker, engine: Engine) -> None:
    answer = post(api, word(), filename="Bericht.docx")
    assert answer.json()["text"]["state"] == "waiting"
    where = answer.headers["location"]
    assert_problem(api.get(f"{where}/text"), 409, "not_ready")
    run_files(worker, engine)
    text = api.get(f"{where}/text")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert "Первый абзац" in text.text
    assert api.get(where).json()["text"]["excerpt"].startswith("Umsatz für März")


def test_links_lead_where_clients_reach_the_store(
    settings: Settings, storage: Storage, web: Web, tenant: Customer
) -> None:
    from tests.support.web import web_server

    outside = settings.model_copy(update={"s3_public_endpoint_url": "https://files.example"})
    with web_server(outside) as served, served.client(tenant.key) as client:
        where = post(client, PNG).headers["location"]
        assert client.get(where).json()["url"].startswith("https://files.example/")


@pytest.mark.parametrize(
    ("data", "query", "kind", "code"),
    [
        (b"", {}, "image/png", "empty_file"),
        (bytes(100), {}, "application/octet-stream", "unsupported_type"),
        (b"<svg xmlns='x'><script/></svg>", {}, "application/octet-stream", "unsupported_type"),
        (b"MZ\x90\0" + bytes(200), {"filename": "a.png"}, "image/png", "unsupported_type"),
        (b"PK\x03\x04" + bytes(60), {}, "application/octet-stream", "unsupported_type"),
        (PNG, {"filename": "a.pdf"}, "application/octet-stream", "type_mismatch"),
        (PNG, {"filename": "a.jpg"}, "application/octet-stream", "type_mismatch"),
        (PNG, {}, "image/jpeg", "type_mismatch"),
        (PNG, {"extract_text": "true"}, "image/png", "no_text"),
        (pdf("x"), {"variants": json.dumps(SMALL)}, "application/pdf", "no_variants"),
        (PNG, {"variants": "[]]"}, "image/png", "invalid_variants"),
        (PNG, {"variants": json.dumps(SMALL * 2)}, "image/png", "invalid_variants"),
        (
            PNG,
            {"variants": '[{"name":"../x","width":9,"height":9}]'},
            "image/png",
            "invalid_variants",
        ),
        (
            PNG,
            {"variants": '[{"name":"x","width":9999,"height":9}]'},
            "image/png",
            "invalid_variants",
        ),
    ],
)
def test_what_is_refused_leaves_nothing(
    api: httpx.Client,
    engine: Engine,
    storage: Storage,
    data: bytes,
    query: dict[str, str],
    kind: str,
    code: str,
) -> None:
    assert_problem(post(api, data, kind, **query), 422, code)
    assert_nothing_left(engine, storage)
    assert count(engine, "files") == 0


def test_a_content_type_that_is_not_taken(api: httpx.Client) -> None:
    assert_problem(post(api, b"x", "application/x-php"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("data", "name"),
    [(heic_photo(), "image/heic"), (encoded(halves(), "AVIF"), "image/avif")],
)
def test_a_type_is_found_by_content(api: httpx.Client, data: bytes, name: str) -> None:
    answer = post(api, data, filename="no-extension")
    assert answer.json()["type"] == name
    assert post(api, data, filename="").json()["filename"] == "upload"


class TestLimits:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_FILE_MAX_BYTES": "2000"}

    def test_a_file_over_the_limit(
        self, api: httpx.Client, engine: Engine, storage: Storage
    ) -> None:
        assert_problem(post(api, b"text " * 1000), 413, "too_large")
        assert_nothing_left(engine, storage)


def test_the_same_key_and_request_make_one_file(api: httpx.Client, engine: Engine) -> None:
    first, second = post(api, PNG, key="k"), post(api, PNG, key="k")
    assert first.json() == second.json()
    assert count(engine, "files") == 1
    assert_problem(post(api, JPEG, key="k"), 422, "idempotency_key_reused")
    other = post(api, PNG, key="k", variants=json.dumps(SMALL))
    assert_problem(other, 422, "idempotency_key_reused")


def test_a_list_page_by_page(api: httpx.Client) -> None:
    made = [post(api, f"note {n}".encode()).json()["id"] for n in range(3)]
    first = api.get("/v1/files", params={"limit": 2}).json()
    rest = api.get("/v1/files", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    shown = [each["id"] for each in [*first["items"], *rest["items"]]]
    assert shown == made[::-1]
    assert rest["next_cursor"] is None


def test_another_tenants_file_is_not_there(
    web: Web, tenant: Customer, stranger: Customer, storage: Storage
) -> None:
    with web.client(tenant.key) as mine, web.client(stranger.key) as theirs:
        where = post(mine, PNG).headers["location"]
        for path in (where, f"{where}/variants/thumb", f"{where}/text"):
            assert_problem(theirs.get(path), 404, "not_found")
        assert_problem(theirs.delete(where), 404, "not_found")
        assert theirs.get("/v1/files").json()["items"] == []
        assert mine.get(where).status_code == 200


def test_delete_takes_everything(
    api: httpx.Client, worker: Worker, engine: Engine, storage: Storage
) -> None:
    where = post(api, PNG).headers["location"]
    run_files(worker, engine)
    assert len(storage.keys()) == 4
    assert api.delete(where).status_code == 204
    assert storage.keys() == []
    assert count(engine, "files") == count(engine, "file_variants") == 0
    assert_problem(api.delete(where), 404, "not_found")
    assert_problem(api.get(f"/v1/files/{uuid4()}"), 404, "not_found")


def test_a_failed_one_says_why_and_a_replay_does_it(
    api: httpx.Client, worker: Worker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.files import decoding
    from workers.runtime.outcome import PermanentError

    def die(*_: object) -> None:
        raise PermanentError("No memory.", code="sandbox_lost") from SandboxLost()

    answer = post(api, PNG, variants=json.dumps(SMALL))
    where = answer.headers["location"]
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_run", die)
        run_files(worker, engine)
    failed = api.get(where).json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "sandbox_lost")
    assert failed["url"] is None
    assert_problem(api.get(f"{where}/variants/small"), 409, "sandbox_lost")
    (job,) = api.get("/v1/jobs").json()["items"]
    assert api.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    run_files(worker, engine)
    done = api.get(where).json()
    assert (done["state"], done["variants"][0]["state"]) == ("uploaded", "done")


class TestScanned:
    @pytest.fixture
    def environment(self, environment: dict[str, str], clamd: ClamdServer) -> dict[str, str]:
        return {**environment, "MILLRACE_CLAMD_URL": clamd.url}

    def test_nothing_is_fetched_before_the_verdict_or_against_it(
        self, api: httpx.Client, worker: Worker, engine: Engine, storage: Storage
    ) -> None:
        good, bad = post(api, PNG), post(api, PNG + BYTES)
        for answer in (good, bad):
            shown = api.get(answer.headers["location"]).json()
            assert (shown["state"], shown["url"]) == ("scanning", None)
        run_files(worker, engine)
        clean, infected = (api.get(each.headers["location"]).json() for each in (good, bad))
        assert (clean["state"], infected["state"]) == ("clean", "infected")
        assert clean["url"]
        assert infected["url"] is None
        assert infected["error"]["code"] == "infected"
        where = f"{bad.headers['location']}/variants/thumb"
        assert_problem(api.get(where), 409, "infected")
        assert not storage.keys(f"tenants/{_tenant_of(storage)}/files/{UUID(bad.json()['id'])}/")


def _tenant_of(storage: Storage) -> str:
    return storage.keys()[0].split("/")[1]
