"""Contacts are embedded once: in one job, over jobs, over failures and side by side."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.aftermath import AFTERMATHS
from app.ai.buying import LIMIT_SCOPE
from app.ids import SYSTEM_TENANT
from app.jobs import CATALOG, AiEmbedContacts
from app.ledger.replay import DeadFilter, replay
from app.outbound.limiter import forget_rate
from tests.support.ai import (
    add_contacts,
    claims,
    passages,
    run,
    run_again,
    run_all,
    set_budget,
    spent,
    usage,
)
from tests.support.ai_provider import KEY, Provider, ai_provider, word_vector
from tests.support.customers import Customer
from tests.support.jobs import (
    add_queued,
    children,
    count,
    job_facts,
    letters,
    lose_worker,
    requeue,
)
from tests.support.runtime import Killed, Worker
from tests.support.servers import wait_for
from workers import ai as jobs

PRICE = Decimal("0.02") / 1_000_000


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
        "MILLRACE_AI_REQUEST_MAX_INPUTS": "4",
        "MILLRACE_AI_TIMEOUT": "3",
        "MILLRACE_AI_REQUESTS_PER_MINUTE": "100000",
    }


def companies(number: int) -> list[str]:
    return [f"company number{at} ltd" for at in range(number)]


def forgive(engine: Engine) -> None:
    """The provider's Retry-After is over."""
    with engine.begin() as tx:
        forget_rate(tx, SYSTEM_TENANT, LIMIT_SCOPE)


def error_code(engine: Engine, job_id: UUID) -> str:
    return str((job_facts(engine, job_id).error or {}).get("code"))


def test_every_contact_gets_its_vector(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, companies(10))
    job_id = run(worker, tenant.id, AiEmbedContacts())
    assert job_facts(engine, job_id).state == "succeeded"
    kept = passages(engine, tenant.id)
    assert [subject for subject, *_ in kept] == ids
    for (_, begin, end, vector), company in zip(kept, companies(10), strict=True):
        assert (begin, end) == (0, len(company))
        assert vector == pytest.approx(word_vector(company), abs=1e-6)
    assert [len(texts) for texts in provider.embedded] == [4, 4, 2]
    assert set(provider.paid.values()) == {1}
    assert usage(engine, tenant.id) == {"embed_contacts": (3, provider.tokens, 0)}
    assert spent(engine, tenant.id) == provider.tokens * PRICE
    assert claims(engine) == []


def test_only_what_changed_is_embedded_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, companies(3))
    run(worker, tenant.id, AiEmbedContacts())
    run(worker, tenant.id, AiEmbedContacts())
    assert len(provider.requests) == 1
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE contacts SET company = 'other words' WHERE id = :id"), {"id": ids[1]}
        )
        tx.execute(text("UPDATE contacts SET phone = '1' WHERE id = :id"), {"id": ids[2]})
    run(worker, tenant.id, AiEmbedContacts())
    assert provider.embedded[1:] == [["other words"]]
    kept = {subject: vector for subject, _, _, vector in passages(engine, tenant.id)}
    assert kept[ids[1]] == pytest.approx(word_vector("other words"), abs=1e-6)
    run(worker, tenant.id, AiEmbedContacts())
    assert len(provider.requests) == 2


def test_the_same_text_is_paid_once_in_a_tenant_and_not_shared_with_another(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, ["Acme  Ltd", "Acme Ltd", " Acme\nLtd "])
    run(worker, tenant.id, AiEmbedContacts())
    assert provider.paid == {"Acme Ltd": 1}
    assert len(passages(engine, tenant.id)) == 3
    add_contacts(engine, stranger.id, ["Acme Ltd"])
    run(worker, stranger.id, AiEmbedContacts())
    assert provider.paid == {"Acme Ltd": 2}
    assert spent(engine, stranger.id) == 2 * PRICE


def test_a_job_does_a_bounded_number_and_goes_on(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(jobs, "SUBJECTS", 3)
    ids = add_contacts(engine, tenant.id, companies(7))
    done = run_all(worker, tenant.id, AiEmbedContacts())
    assert len(done) == 3
    assert [subject for subject, *_ in passages(engine, tenant.id)] == ids
    assert set(provider.paid.values()) == {1}


def test_only_those_that_are_asked_for(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    ids = add_contacts(engine, tenant.id, companies(3))
    theirs = add_contacts(engine, stranger.id, ["not ours"])
    run_all(worker, tenant.id, AiEmbedContacts(ids=[ids[1], *theirs]))
    assert [subject for subject, *_ in passages(engine, tenant.id)] == [ids[1]]
    assert "not ours" not in provider.paid


def test_without_any_text_nothing_is_asked(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, ["", "  "])
    run(worker, tenant.id, AiEmbedContacts())
    run(worker, tenant.id, AiEmbedContacts())
    assert provider.requests == []
    assert count(engine, "ai_subjects") == 2


@pytest.mark.parametrize(
    ("fault", "code", "counted"),
    [
        ("busy", "retry", 0),
        ("broken", "retry", 0),
        ("vanish", "retry", 1),
        ("half", "retry", 1),
        ("slow", "retry", 1),
        ("html", "retry", 1),
        ("one_less", "retry", 1),
        ("no_numbers", "retry", 1),
        ("zeros", "retry", 1),
    ],
)
def test_what_may_pass_is_tried_again_and_keeps_what_is_paid(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider,
    fault: str, code: str, counted: int,
) -> None:  # fmt: skip
    """A request that may have been paid stays in the books with its estimate; the next attempt asks for
    nothing that is there."""
    add_contacts(engine, tenant.id, companies(8))
    provider.faults[:] = ["", fault]
    job_id = run(worker, tenant.id, AiEmbedContacts())
    facts = job_facts(engine, job_id)
    assert (facts.state, (facts.error or {}).get("code")) == ("scheduled", code)
    if fault == "busy":
        assert facts.wait_seconds > 6
        forgive(engine)
    assert usage(engine, tenant.id)["embed_contacts"][0] == 1 + counted
    assert claims(engine) == []
    assert run_again(worker, job_id) == "succeeded"
    assert [len(texts) for texts in provider.embedded] == [4, 4, 4]
    assert {provider.paid[text] for text in provider.embedded[0]} == {1}
    assert len(passages(engine, tenant.id)) == 8


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ("no_money", "ai_quota", "Top it up"),
        ("unknown_model", "ai_unknown_model", "MILLRACE_AI_EMBEDDING_MODEL"),
        ("refuse", "ai_refused", "We do not like this"),
    ],
)
def test_what_does_not_pass_is_dead_with_a_reason(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider,
    fault: str, code: str, says: str,
) -> None:  # fmt: skip
    add_contacts(engine, tenant.id, companies(2))
    provider.faults[:] = [fault]
    job_id = run(worker, tenant.id, AiEmbedContacts())
    error = job_facts(engine, job_id).error or {}
    assert (job_facts(engine, job_id).state, error["code"]) == ("dead", code)
    assert says in error["message"]
    assert spent(engine, tenant.id) == 0
    assert len(letters(engine, job_id)) == 1


def test_a_refused_key_names_the_setting_and_not_the_key(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    provider.key = "sk-other"
    add_contacts(engine, tenant.id, companies(1))
    error = job_facts(engine, run(worker, tenant.id, AiEmbedContacts())).error or {}
    assert error["code"] == "ai_unauthorized"
    assert "MILLRACE_AI_API_KEY" in error["message"]
    assert KEY not in str(letters(engine)) + str(error)


def test_one_text_that_is_too_long_costs_the_others_nothing(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    provider.longest = 50
    ids = add_contacts(engine, tenant.id, [*companies(4), "long " * 20, *companies(9)[5:]])
    job_id = run(worker, tenant.id, AiEmbedContacts())
    assert job_facts(engine, job_id).state == "succeeded"
    assert [s for s, *_ in passages(engine, tenant.id)] == ids[:4] + ids[5:]
    assert set(provider.paid.values()) == {1}
    assert children(engine, job_id) == ["ai.embed_contacts"]
    (alone,) = run_all(worker, tenant.id, AiEmbedContacts(ids=[ids[4]]))[1:]
    assert error_code(engine, alone) == "ai_input_too_long"
    assert str(ids[4]) in str(job_facts(engine, alone).error)


def test_a_killed_worker_pays_one_request_twice_at_most(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    """Killed after the provider has counted a request, before its answer was kept."""

    add_contacts(engine, tenant.id, companies(12))
    job_id = add_queued(engine, tenant.id, AiEmbedContacts())
    from app.ai import results

    keep, calls = results.keep, iter(range(10))

    def killed(*arguments: object) -> None:
        if next(calls) == 1:
            raise Killed
        keep(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "keep", killed)
        with pytest.raises(Killed):
            worker.deliver(job_id)
    assert len(claims(engine)) == 4
    worker.deliver(job_id, redelivered=True)
    assert job_facts(engine, job_id).state == "succeeded"
    assert sorted(provider.paid.values()) == [1] * 8 + [2] * 4
    assert usage(engine, tenant.id)["embed_contacts"][0] == 4
    assert claims(engine) == []


def test_a_job_that_lost_its_end_pays_nothing_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, companies(5))
    job_id = run(worker, tenant.id, AiEmbedContacts())
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM ai_subjects"))
    lose_worker(engine, job_id)
    worker.deliver(job_id, redelivered=True)
    assert len(passages(engine, tenant.id)) == 5
    assert set(provider.paid.values()) == {1}


def test_two_jobs_at_once_pay_once(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    """The second comes while the first one's request is under way: it steps back, and uses the answer."""
    add_contacts(engine, tenant.id, companies(3))
    provider.hold = threading.Event()
    first, second = (add_queued(engine, tenant.id, AiEmbedContacts()) for _ in range(2))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.deliver, first)
        wait_for(lambda: provider.requests, what="the first request")
        worker.deliver(second)
        facts = job_facts(engine, second)
        assert (facts.state, facts.error) == ("scheduled", None)
        provider.hold.set()
        running.result(20)
    assert run_again(worker, second) == "succeeded"
    assert job_facts(engine, first).state == "succeeded"
    assert set(provider.paid.values()) == {1}


def test_an_exhausted_budget_stops_and_a_raise_goes_on(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, companies(12))
    set_budget(engine, tenant.id, str(45 * PRICE))
    job_id = run(worker, tenant.id, AiEmbedContacts())
    facts = job_facts(engine, job_id)
    assert (facts.state, (facts.error or {})["code"]) == ("dead", "budget_exhausted")
    assert "millrace tenants budget" in (facts.error or {})["message"]
    asked = len(provider.requests)
    assert 0 < asked < 3
    assert spent(engine, tenant.id) <= 45 * PRICE
    set_budget(engine, tenant.id, "1")
    with engine.begin() as tx:
        chosen = DeadFilter(job_ids=[job_id])
        assert replay(tx, CATALOG, AFTERMATHS, chosen, reason="raised").job_ids
    requeue(engine, job_id)
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "succeeded"
    assert len(provider.requests) == 3
    assert set(provider.paid.values()) == {1}


def test_no_more_requests_than_the_minute_has(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    """Three a minute, of all tenants together: the rest waits, at the cost of no attempt and no money."""
    few = worker.runtime.settings.model_copy(update={"ai_requests_per_minute": 3})
    worker.runtime = replace(worker.runtime, settings=few)
    add_contacts(engine, tenant.id, companies(4))
    add_contacts(engine, stranger.id, companies(4))
    assert job_facts(engine, run(worker, tenant.id, AiEmbedContacts())).state == "succeeded"
    job_id = run(worker, stranger.id, AiEmbedContacts())
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.error) == ("scheduled", None)
    assert 10 < facts.wait_seconds < 60
    assert len(provider.requests) == 1
    assert spent(engine, stranger.id) == 0
    assert claims(engine) == []


def test_all_wait_where_the_provider_asks_for_it(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, provider: Provider
) -> None:
    add_contacts(engine, tenant.id, companies(1))
    add_contacts(engine, stranger.id, companies(1))
    provider.faults[:] = ["busy"]
    run(worker, tenant.id, AiEmbedContacts())
    facts = job_facts(engine, run(worker, stranger.id, AiEmbedContacts()))
    assert (facts.state, facts.error) == ("scheduled", None)
    assert 4 < facts.wait_seconds < 9
    assert len(provider.requests) == 1
