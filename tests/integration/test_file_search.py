"""A document that is handed in is found by what it says; its documents come with its text and go with the file."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import Engine, text

from app.ai import documents
from app.files import making, store
from app.files.store import StoredFile
from app.storage import Storage
from tests.support.ai_provider import KEY, Provider, ai_provider
from tests.support.customers import Customer
from tests.support.documents import pdf
from tests.support.files import accepted_file, file_row, run_files
from tests.support.jobs import count, requeue
from tests.support.pictures import encoded, halves
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported

SEARCHABLE = {"searchable": "true"}
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with ai_provider() as made:
        yield made


@pytest.fixture
def environment(environment: dict[str, str], provider: Provider) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_AI_BASE_URL": provider.url,
        "MILLRACE_AI_API_KEY": KEY,
        "MILLRACE_AI_REQUESTS_PER_MINUTE": "100000",
    }


def post(api: httpx.Client, data: bytes, name: str, **query: str) -> str:
    asked = {"filename": name, **query}
    answer = api.post("/v1/files", content=data, params=asked, headers=BYTES)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def found(api: httpx.Client, words: str) -> list[str]:
    answer = api.get("/v1/search", params={"q": words, "kind": "documents"})
    assert answer.status_code == 200, answer.text
    return [each["title"] for each in answer.json()["items"]]


def test_a_pdf_is_found_by_what_it_says_until_it_is_deleted(
    web: Web, tenant: Customer, stranger: Customer, worker: Worker, engine: Engine
) -> None:
    with web.client(tenant.key) as api, web.client(stranger.key) as theirs:
        bread = post(api, pdf("How to bake bread with rye"), "bread.pdf", **SEARCHABLE)
        post(api, pdf("How to repair a car"), "car.pdf", **SEARCHABLE)
        post(api, pdf("How to bake bread in secret"), "kept out.pdf")
        kinds = run_files(worker, engine)
        assert sorted(kinds) == ["ai.embed_documents"] * 2 + ["file.extract_text"] * 3
        assert found(api, "bake bread rye") == ["bread.pdf", "car.pdf"]
        assert found(theirs, "bake bread rye") == []
        assert api.get(f"/v1/files/{bread}").json()["searchable"] is True
        of_file = {"source_file_id": bread}
        (document,) = api.get("/v1/documents", params=of_file).json()["items"]
        assert (document["title"], document["source_file_id"]) == ("bread.pdf", bread)
        own = {"title": "mine", "text": "rye bread", "source_file_id": bread}
        assert api.post("/v1/documents", json=own).status_code == 201
        assert_problem(theirs.delete(f"/v1/files/{bread}"), 404, "not_found")
        assert found(api, "bake bread rye") == ["bread.pdf", "car.pdf"]
        assert api.delete(f"/v1/files/{bread}").status_code == 204
        assert found(api, "bake bread rye") == ["car.pdf"]
        left = api.get("/v1/documents", params=of_file).json()["items"]
        assert [each["title"] for each in left] == ["mine"], "what the tenant wrote is the tenant's"
        assert count(engine, "ai_subjects") == 1


def test_what_has_no_text_can_not_be_searchable(api: httpx.Client, engine: Engine) -> None:
    for data, query in (
        (encoded(halves(), "PNG"), SEARCHABLE),
        (pdf("text"), {**SEARCHABLE, "extract_text": "false"}),
    ):
        answer = api.post("/v1/files", content=data, params=query, headers=BYTES)
        assert_problem(answer, 422, "no_text")
    form = {"searchable": "perhaps"}
    refused = api.post("/v1/files", files={"file": ("a.txt", b"text")}, data=form)
    assert_problem(refused, 422, "invalid_flag")
    assert count(engine, "files") == 0


def test_a_long_text_is_as_many_documents_as_it_takes(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """And without a provider they are kept all the same, for a later day."""
    words = "\n".join(f"line {number} says nothing much" for number in range(9000))
    settings = worker.runtime.settings.model_copy(update={"ai_base_url": None})
    worker.runtime = replace(worker.runtime, settings=settings)
    from app.ai import local_model

    monkeypatch.setattr(local_model, "is_installed", lambda: False)
    file_id = accepted_file(engine, storage, tenant.id, words.encode(), searchable=True)
    assert run_files(worker, engine) == ["file.extract_text"]
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT title, text, source_part FROM documents ORDER BY id")).all()
    assert [(row.title, row.source_part) for row in rows] == [("file (1/2)", 1), ("file (2/2)", 2)]
    assert "".join(row.text for row in rows) == words
    assert all(len(row.text) <= documents.MAX_CHARS for row in rows)
    assert rows[0].text.endswith("\n"), "cut at the end of a line"
    assert file_row(engine, tenant.id, file_id).text_chars == len(words)


def test_delivered_twice_they_are_there_once_and_one_that_was_deleted_stays_so(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, b"some words", searchable=True)
    run_files(worker, engine)
    with engine.begin() as tx:
        job_id, document_id = tx.execute(
            text("SELECT f.job_id, d.id FROM files f JOIN documents d ON d.source_file_id = f.id")
        ).one()
        documents.delete(tx, tenant.id, document_id)
    worker.deliver(job_id, redelivered=True)
    requeue(engine, job_id)
    worker.deliver(job_id)
    run_files(worker, engine)
    assert count(engine, "documents") == 0
    assert file_row(engine, tenant.id, file_id).text_state == "done"


def test_a_file_that_is_deleted_while_it_is_read_leaves_no_document(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file_id = accepted_file(engine, storage, tenant.id, b"some words", searchable=True)
    extract = making.extract_text

    def slow(storage: Storage, file: StoredFile, *more: object) -> making.Text:
        done = extract(storage, file, *more)  # type: ignore[arg-type]
        with engine.begin() as tx:
            assert store.delete(tx, tenant.id, file_id)
            documents.delete_parts(tx, tenant.id, file_id)
        return done

    monkeypatch.setattr(making, "extract_text", slow)
    assert run_files(worker, engine) == ["file.extract_text"]
    assert count(engine, "documents") == 0
