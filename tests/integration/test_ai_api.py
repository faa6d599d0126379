"""Documents, labels and usage over HTTP; budgets from the command line and under concurrency."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from app import cli
from app.ai import budget
from app.ai.budget import Use
from app.ai.failures import BudgetExhausted
from app.ids import new_id
from app.jobs import AiClassify
from app.settings import Settings, get_settings
from tests.support.ai import add_contacts, add_document, run_all, set_budget, spent, usage
from tests.support.ai_provider import KEY, Provider, ai_provider
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web, web_server
from workers import handlers  # noqa: F401 - they are registered by being imported

DOCUMENT = {"title": "Handbook", "text": "How to bake bread.", "source": "wiki"}


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


def test_a_document_is_kept_and_its_job_with_it(
    api: httpx.Client, engine: Engine, worker: Worker
) -> None:
    answer = api.post("/v1/documents", json=DOCUMENT, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/documents", json=DOCUMENT, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, again.json()) == (201, answer.json())
    made = answer.json()
    assert answer.headers["location"] == f"/v1/documents/{made['id']}"
    assert (count(engine, "documents"), count(engine, "jobs")) == (1, 1)
    shown = api.get(answer.headers["location"]).json()
    assert {**shown, "job_id": made["job_id"]} == made
    assert (shown["text"], shown["characters"]) == (DOCUMENT["text"], len(DOCUMENT["text"]))
    assert api.get(f"/v1/jobs/{made['job_id']}").json()["kind"] == "ai.embed_documents"


def test_documents_are_listed_a_page_at_a_time_and_deleted(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    ids = [str(add_document(engine, tenant.id, f"t{at}", "words")) for at in range(3)]
    first = api.get("/v1/documents?limit=2").json()
    second = api.get(f"/v1/documents?limit=2&cursor={first['next_cursor']}").json()
    assert [each["id"] for page in (first, second) for each in page["items"]] == ids[::-1]
    assert "text" not in first["items"][0]
    assert api.delete(f"/v1/documents/{ids[0]}").status_code == 204
    assert_problem(api.get(f"/v1/documents/{ids[0]}"), 404, "not_found")
    assert_problem(api.delete(f"/v1/documents/{ids[0]}"), 404, "not_found")


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"text": ""},
        {"text": "a\x00"},
        {"text": "x" * 200_001},
        {"source_file_id": "no"},
        {"more": 1},
    ],
)
def test_what_is_no_document_is_refused(
    api: httpx.Client, engine: Engine, wrong: dict[str, object]
) -> None:
    assert_problem(api.post("/v1/documents", json={**DOCUMENT, **wrong}), 422, "invalid_parameters")
    assert (count(engine, "documents"), count(engine, "jobs")) == (0, 0)


def test_nobody_else_sees_documents_labels_or_usage(
    web: Web, api: httpx.Client, worker: Worker, tenant: Customer, stranger: Customer
) -> None:
    document = api.post("/v1/documents", json=DOCUMENT).json()["id"]
    job = AiClassify(what="documents", name="kind", labels=["recipe", "other"])
    run_all(worker, tenant.id, job)
    labels = api.get("/v1/ai/labels?name=kind&kind=documents").json()["items"]
    assert [(each["subject_id"], each["label"]) for each in labels] == [(document, "recipe")]
    assert api.get("/v1/ai/labels?name=kind&kind=documents&label=other").json()["items"] == []
    with web.client(stranger.key) as theirs:
        assert_problem(theirs.get(f"/v1/documents/{document}"), 404, "not_found")
        assert_problem(theirs.delete(f"/v1/documents/{document}"), 404, "not_found")
        assert theirs.get("/v1/documents").json()["items"] == []
        assert theirs.get("/v1/ai/labels?name=kind&kind=documents").json()["items"] == []
        assert theirs.get("/v1/ai/usage").json()["items"] == []


def test_the_month_is_shown_with_its_budget(
    api: httpx.Client, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    add_contacts(engine, tenant.id, ["one", "two"])
    run_all(worker, tenant.id, AiClassify(what="contacts", name="n", labels=["a", "b"]))
    set_budget(engine, tenant.id, "2.5")
    seen = api.get("/v1/ai/usage").json()
    today = datetime.now(UTC).date()
    assert seen["month"] == today.replace(day=1).isoformat()
    (line,) = seen["items"]
    assert (line["purpose"], line["model"], line["requests"]) == ("classify", "gpt-4o-mini", 2)
    assert (line["input_tokens"], line["output_tokens"]) == (40, 20)
    cost = spent(engine, tenant.id)
    assert [Decimal(seen[name]) for name in ("budget", "spent", "left")] == [
        Decimal("2.5"), cost, Decimal("2.5") - cost,
    ]  # fmt: skip
    assert seen["budget"] == "2.5"
    assert "E" not in seen["spent"] + line["cost"], "no exponents"
    assert api.get("/v1/ai/usage?month=2020-02-17").json()["items"] == []
    assert api.get("/v1/ai/usage?month=2020-02").json()["month"] == "2020-02-01"
    assert_problem(api.get("/v1/ai/usage?month=May"), 422, "invalid_parameters")


def test_the_kinds_can_be_posted(api: httpx.Client, engine: Engine) -> None:
    for kind, payload in (
        ("ai.embed_contacts", {}),
        ("ai.embed_documents", {"ids": [str(new_id())]}),
        ("ai.classify", {"what": "contacts", "name": "n", "labels": ["a", "b"]}),
    ):
        answer = api.post("/v1/jobs", json={"kind": kind, "payload": payload})
        assert (answer.status_code, answer.json().get("queue")) == (202, "low"), answer.text
    wrong = {"kind": "ai.classify", "payload": {"what": "contacts", "name": "n", "labels": ["a"]}}
    assert_problem(api.post("/v1/jobs", json=wrong), 422, "invalid_parameters")


def test_without_provider_search_says_what_to_set(
    settings: Settings, tenant: Customer, engine: Engine, storage: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from app.ai import local_model

    monkeypatch.setattr(local_model, "is_installed", lambda: False)
    with (
        web_server(settings.model_copy(update={"ai_base_url": None})) as web,
        web.client(tenant.key) as api,
    ):
        answer = api.get("/v1/search?q=bread")
        assert_problem(answer, 503, "ai_not_configured")
        assert "MILLRACE_AI_BASE_URL" in answer.json()["detail"]
        kept = api.post("/v1/documents", json=DOCUMENT)
        assert (kept.status_code, kept.json()["job_id"]) == (201, None)


def test_many_at_once_stay_within_the_budget(engine: Engine, tenant: Customer) -> None:
    """Reserved before they are made, so that not one is made too many."""
    set_budget(engine, tenant.id, "1")
    estimate = Use(input_tokens=10, cost=Decimal("0.03"))

    def one(_: int) -> budget.Booking | None:
        try:
            with engine.begin() as tx:
                return budget.book(
                    tx, tenant.id, estimate, purpose="test", model="m", default_budget=Decimal(5)
                )
        except BudgetExhausted:
            return None

    with ThreadPoolExecutor(8) as pool:
        booked = [each for each in pool.map(one, range(60)) if each]
    assert len(booked) == 33
    assert spent(engine, tenant.id) == Decimal("0.99")
    with engine.begin() as tx:
        budget.settle(tx, booked[0], replace(estimate, cost=Decimal("0.01"), input_tokens=3))
        budget.take_back(tx, booked[1])
    assert spent(engine, tenant.id) == Decimal("0.94")
    assert usage(engine, tenant.id) == {"test": (32, 313, 0)}
    assert one(0) is not None
    assert spent(engine, tenant.id) == Decimal("0.97")


def test_what_costs_nothing_needs_no_budget(engine: Engine, tenant: Customer) -> None:
    set_budget(engine, tenant.id, "0")
    with engine.begin() as tx:
        budget.book(tx, tenant.id, Use(), purpose="t", model="m", default_budget=Decimal(5))
    least = Use(cost=Decimal("0.0000000001"))
    with engine.begin() as tx, pytest.raises(BudgetExhausted):
        budget.book(tx, tenant.id, least, purpose="t", model="m", default_budget=Decimal(5))


def test_a_budget_is_set_and_shown_from_the_command_line(
    environment: dict[str, str], engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()

    def run(*words: str) -> dict[str, str]:
        done = CliRunner().invoke(cli.app, ["tenants", "budget", str(tenant.id), *words, "--json"])
        assert done.exit_code == 0, done.output
        facts: dict[str, str] = json.loads(done.output)
        return facts

    try:
        assert Decimal(run()["budget"]) == 10
        assert Decimal(run("2.50")["budget"]) == Decimal(run()["left"]) == Decimal("2.5")
        assert Decimal(run("--default")["budget"]) == 10
        for wrong in ("ten", "NaN", "-1", "Infinity"):
            words = ["tenants", "budget", str(tenant.id), "--", wrong]
            assert CliRunner().invoke(cli.app, words).exit_code != 0
    finally:
        get_settings.cache_clear()
