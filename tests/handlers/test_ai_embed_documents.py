"""Documents are cut into passages, and each is embedded once."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from app.ai import documents, indexing
from app.jobs import AiEmbedDocuments
from tests.support.ai import add_document, passages, run, run_all
from tests.support.ai_provider import KEY, Provider, ai_provider
from tests.support.customers import Customer
from tests.support.jobs import count, job_facts
from tests.support.runtime import Worker
from workers import ai


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
        "MILLRACE_AI_PASSAGE_TOKENS": "60",
    }


LONG = "\n\n".join(
    f"Paragraph {number} is about subject{number} and more." * 2 for number in range(9)
)


def test_a_long_document_is_cut_into_passages_that_know_its_title(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    document = add_document(engine, tenant.id, "Handbook", LONG)
    job_id = run(worker, tenant.id, AiEmbedDocuments(ids=[document]))
    assert job_facts(engine, job_id).state == "succeeded"
    kept = passages(engine, tenant.id)
    assert len(kept) > 4
    assert {subject for subject, *_ in kept} == {document}
    assert kept[0][1] == 0
    assert kept[-1][2] == len(LONG)
    for (_, _, end, _), (_, begin, _, _) in itertools.pairwise(kept):
        assert begin <= end
    (texts,) = provider.embedded
    assert all(each.startswith("Handbook ") for each in texts)
    assert set(provider.paid.values()) == {1}


def test_a_changed_document_pays_for_its_new_passages_alone(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    document = add_document(engine, tenant.id, "Handbook", LONG)
    run(worker, tenant.id, AiEmbedDocuments())
    before = len(passages(engine, tenant.id))
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE documents SET text = text || :more WHERE id = :id"),
            {"id": document, "more": "\n\nA last word, on something else entirely."},
        )
    run(worker, tenant.id, AiEmbedDocuments())
    assert len(passages(engine, tenant.id)) >= before
    assert set(provider.paid.values()) == {1}
    assert len(provider.embedded[1]) <= 2


def test_a_document_that_is_deleted_meanwhile_leaves_nothing(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    document = add_document(engine, tenant.id, "Handbook", LONG)
    keep = indexing.keep

    def late(*arguments: object) -> None:
        with engine.begin() as tx:
            documents.delete(tx, tenant.id, document)
        keep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ai, "keep", late)
    job_id = run(worker, tenant.id, AiEmbedDocuments())
    assert job_facts(engine, job_id).state == "succeeded"
    assert (count(engine, "ai_subjects"), count(engine, "ai_passages")) == (0, 0)


def test_all_that_need_it_and_nobody_elses(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    ours = [add_document(engine, tenant.id, f"t{at}", f"words{at}") for at in range(3)]
    theirs = add_document(engine, stranger.id, "theirs", "secret")
    run_all(worker, tenant.id, AiEmbedDocuments())
    run_all(worker, tenant.id, AiEmbedDocuments(ids=[theirs]))
    assert [subject for subject, *_ in passages(engine, tenant.id)] == ours
    assert passages(engine, stranger.id) == []
    assert "theirs secret" not in provider.paid


def test_without_provider_it_is_dead_and_says_what_to_set(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.ai import local_model

    monkeypatch.setattr(local_model, "is_installed", lambda: False)
    add_document(engine, tenant.id, "Handbook", LONG)
    settings = worker.runtime.settings.model_copy(update={"ai_base_url": None})
    worker.runtime = replace(worker.runtime, settings=settings)
    job_id = run(worker, tenant.id, AiEmbedDocuments())
    error = job_facts(engine, job_id).error or {}
    assert error["code"] == "ai_not_configured"
    assert "MILLRACE_AI_BASE_URL" in error["message"]
