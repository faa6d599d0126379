"""Labels: one of the list, checked; what is no answer is asked for once more, and then dead."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text

from app.jobs import AiClassify
from tests.support.ai import (
    add_contacts,
    add_document,
    claims,
    labels,
    run,
    run_again,
    run_all,
    spent,
    usage,
)
from tests.support.ai_provider import KEY, Provider, ai_provider
from tests.support.customers import Customer
from tests.support.jobs import children, job_facts
from tests.support.runtime import Worker
from workers.handlers import ai_classify as handler

COMPANIES = ["Smile dentist", "Speedy garage", "Corner dentist"]
EACH = Decimal("0.15") / 1_000_000 * 20 + Decimal("0.60") / 1_000_000 * 10
"""20 tokens in, 10 out."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with ai_provider() as made:
        made.labels = {"dentist": "health", "garage": "cars"}
        yield made


@pytest.fixture
def environment(environment: dict[str, str], provider: Provider) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_AI_BASE_URL": provider.url,
        "MILLRACE_AI_API_KEY": KEY,
        "MILLRACE_AI_REQUESTS_PER_MINUTE": "100000",
    }


def job(**more: object) -> AiClassify:
    facts = {"what": "contacts", "name": "industry", "labels": ["other", "health", "cars"]}
    return AiClassify.model_validate({**facts, **more})


def test_every_contact_gets_a_label(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, [*COMPANIES, "", "Bakery"])
    run_all(worker, tenant.id, job(instruction="Dentists are health."))
    found = labels(engine, tenant.id)
    assert [found.get(each) for each in ids] == ["health", "cars", "health", None, "other"]
    assert len(provider.requests) == 4
    assert spent(engine, tenant.id) == 4 * EACH
    assert usage(engine, tenant.id) == {"classify": (4, 80, 40)}
    asked = provider.requests[0]
    schema = asked["response_format"]["json_schema"]
    assert (asked["response_format"]["type"], schema["strict"]) == ("json_schema", True)
    assert schema["schema"]["properties"]["label"]["enum"] == ["other", "health", "cars"]
    assert "Dentists are health." in asked["messages"][0]["content"]
    assert asked["max_completion_tokens"] == 1000


def test_what_was_asked_is_not_asked_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, [*COMPANIES, COMPANIES[0]])
    run_all(worker, tenant.id, job())
    assert len(provider.requests) == 3
    run_all(worker, tenant.id, job())
    assert len(provider.requests) == 3
    with engine.begin() as tx:
        tx.execute(text("UPDATE contacts SET company = 'Garage' WHERE id = :id"), {"id": ids[0]})
    run_all(worker, tenant.id, job())
    assert len(provider.requests) == 4
    run_all(worker, tenant.id, job(labels=["health", "cars"]))
    assert len(provider.requests) == 8


@pytest.mark.parametrize("fault", ["no_json", "other_label", "more_fields", "no_words"])
def test_an_answer_that_will_not_do_is_repaired_once(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider, fault: str
) -> None:
    ids = add_contacts(engine, tenant.id, COMPANIES[:1])
    provider.faults[:] = [fault]
    run_all(worker, tenant.id, job())
    assert labels(engine, tenant.id) == {ids[0]: "health"}
    assert len(provider.requests) == 2
    assert [each["role"] for each in provider.requests[1]["messages"]] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert spent(engine, tenant.id) == 2 * EACH


def test_one_that_gets_no_label_dies_alone(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, COMPANIES)
    provider.faults[:] = ["", "no_json", "other_label"]
    first = run(worker, tenant.id, job())
    assert job_facts(engine, first).state == "succeeded"
    assert set(labels(engine, tenant.id)) == {ids[0], ids[2]}
    assert children(engine, first) == ["ai.classify"]
    provider.faults[:] = ["no_json", "no_json"]
    alone = run(worker, tenant.id, job(ids=[ids[1]]))
    error = job_facts(engine, alone).error or {}
    assert (job_facts(engine, alone).state, error["code"]) == ("dead", "ai_invalid_answer")
    assert claims(engine) == []


def test_half_an_answer_is_tried_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, COMPANIES)
    provider.faults[:] = ["", "half"]
    job_id = run(worker, tenant.id, job())
    assert job_facts(engine, job_id).state == "scheduled"
    assert run_again(worker, job_id) == "succeeded"
    assert len(provider.requests) == 4
    assert len(labels(engine, tenant.id)) == 3


def test_a_job_asks_about_a_bounded_number_and_goes_on(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(handler, "SUBJECTS", 2)
    ids = add_contacts(engine, tenant.id, [f"Company {at}" for at in range(5)])
    assert len(run_all(worker, tenant.id, job())) == 3
    assert len(labels(engine, tenant.id)) == 5
    assert len(run_all(worker, tenant.id, job(name="again", ids=ids[:3]))) == 2
    assert len(provider.requests) == 5


def test_documents_too(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    ours = add_document(engine, tenant.id, "Invoice", "For a garage")
    theirs = add_document(engine, stranger.id, "Secret", "Of a dentist")
    run_all(worker, tenant.id, job(what="documents"))
    run_all(worker, tenant.id, job(what="documents", ids=[theirs]))
    assert labels(engine, tenant.id) == {ours: "cars"}
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ["one"]},
        {"labels": ["a", "a"]},
        {"labels": ["a", " "]},
        {"labels": [str(at) for at in range(101)]},
        {"name": "with space"},
        {"what": "products"},
        {"ids": []},
        {"instruction": "x" * 2001},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        job(**wrong)
