"""Search by meaning: the same with pgvector, with its index, and without; nobody else's, and paid once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, text

from app.ai import nearest, vectors
from app.ai.buying import LIMIT_SCOPE
from app.ids import SYSTEM_TENANT
from app.jobs import AiEmbedContacts, AiEmbedDocuments
from app.outbound.limiter import forget_rate
from tests.support.ai import add_contacts, add_document, passages, run_all, set_budget, usage
from tests.support.ai_provider import KEY, Provider, ai_provider
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported

COMPANIES = [
    "dental practice in berlin",
    "garage for cars in berlin",
    "bakery with bread and cake",
    "dental laboratory in hamburg",
    "bread and cake and coffee",
]


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
        "MILLRACE_AI_PASSAGE_TOKENS": "40",
        "MILLRACE_AI_REQUESTS_PER_MINUTE": "100000",
    }


@pytest.fixture
def pgvector(servers: Servers, database: str, engine: Engine) -> None:
    """The extension, put there by a superuser as an operator would, and our part of it."""
    url = servers.system.postgres.url(database=database, user="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION vector")
        except psycopg.errors.FeatureNotSupported as missing:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"this PostgreSQL has no pgvector: {missing}")
    with engine.begin() as tx:
        assert vectors.prepare(tx)


def look(api: httpx.Client, q: str, **more: object) -> list[tuple[str, str, float]]:
    answer = api.get("/v1/search", params={"q": q, **more})  # type: ignore[dict-item]
    assert answer.status_code == 200, answer.text
    return [(item["id"], item["text"], item["score"]) for item in answer.json()["items"]]


def embed_all(worker: Worker, tenant_id: UUID) -> None:
    run_all(worker, tenant_id, AiEmbedContacts())
    run_all(worker, tenant_id, AiEmbedDocuments())


def filled(worker: Worker, tenant_id: UUID) -> tuple[list[UUID], list[UUID]]:
    """Contacts and documents; the last document has its matter far from its beginning."""
    engine = worker.runtime.engine
    contacts = add_contacts(engine, tenant_id, COMPANIES)
    documents = [
        add_document(engine, tenant_id, "Guide", "How to bake bread. " * 3),
        add_document(engine, tenant_id, "Manual", "All about engines. " * 30 + "Teeth need care."),
    ]
    embed_all(worker, tenant_id)
    return contacts, documents


def test_contacts_are_found_the_nearest_first(
    worker: Worker, tenant: Customer, api: httpx.Client
) -> None:
    contacts, _ = filled(worker, tenant.id)
    found = look(api, "bread and cake", limit=3)
    assert [UUID(found[at][0]) for at in (0, 1)] == [contacts[4], contacts[2]]
    assert found[0][2] > found[1][2] > found[2][2]
    assert "@example.com" in found[0][1]
    assert len(look(api, "bread", limit=50)) == 5


def test_a_document_is_found_by_a_passage_and_once(
    worker: Worker, tenant: Customer, api: httpx.Client
) -> None:
    _, documents = filled(worker, tenant.id)
    found = look(api, "teeth need care", kind="documents")
    assert [UUID(each[0]) for each in found] == [documents[1], documents[0]]
    assert found[0][1].endswith("Teeth need care.")
    assert len(found[0][1]) < 200


@pytest.mark.usefixtures("pgvector")
def test_all_three_ways_find_the_same(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, api: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    filled(worker, tenant.id)
    filled(worker, stranger.id)
    assert count(engine, "ai_vectors") == count(engine, "ai_passages")
    with engine.begin() as tx:
        assert vectors.prepare(tx)
    asked = [("bread in berlin", "contacts"), ("cars", "contacts"), ("engines", "documents")]
    exact = [look(api, q, kind=kind) for q, kind in asked]
    monkeypatch.setattr(nearest, "EXACT_ROWS", 0)
    indexed = [look(api, q, kind=kind) for q, kind in asked]
    monkeypatch.setattr(vectors, "has_vectors", lambda _tx: False)
    read = [look(api, q, kind=kind) for q, kind in asked]
    for one, other in ((exact, indexed), (exact, read)):
        for these, those in zip(one, other, strict=True):
            assert [each[:2] for each in these] == [each[:2] for each in those]
            assert [each[2] for each in these] == pytest.approx(
                [each[2] for each in those], abs=1e-5
            )


@pytest.mark.usefixtures("pgvector")
def test_the_index_is_used_and_a_small_tenant_is_found_behind_a_large_one(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, api: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """All of the large tenant's are nearer to the query."""
    add_contacts(engine, stranger.id, [f"bread {at}" for at in range(150)])
    (ours,) = add_contacts(engine, tenant.id, ["garage"])
    embed_all(worker, stranger.id)
    embed_all(worker, tenant.id)
    with engine.begin() as tx:
        vectors.prepare(tx)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 0)
    assert [UUID(each[0]) for each in look(api, "bread", limit=1)] == [ours]
    statement = nearest._INDEXED.format(size=64, mine=nearest._MINE.format(kind="contacts"))
    query = vectors.literal([0.1] * 64)
    values = {"tenant_id": stranger.id, "kind": "contacts", "space": "x", "query": query}
    with engine.begin() as tx:
        for name in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            tx.execute(text(f"SET LOCAL {name} = off"))
        plan = tx.execute(text(f"EXPLAIN {statement}"), {**values, "limit": 5, "near": 25})
        assert "ix_ai_vectors_embedding_64" in "\n".join(plan.scalars())


def test_pgvector_that_comes_later_is_filled(
    worker: Worker, engine: Engine, tenant: Customer, api: httpx.Client,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    with engine.begin() as tx:
        assert not vectors.prepare(tx)  # our role may not create the extension
    filled(worker, tenant.id)
    before = look(api, "dental berlin")
    request.getfixturevalue("pgvector")
    assert count(engine, "ai_vectors") == count(engine, "ai_passages") > 0
    assert [each[:2] for each in look(api, "dental berlin")] == [each[:2] for each in before]


def test_a_query_is_paid_once_and_counted(
    worker: Worker, engine: Engine, tenant: Customer, api: httpx.Client, provider: Provider
) -> None:
    filled(worker, tenant.id)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: look(api, "  bread   please"), range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert provider.paid["bread please"] == 1
    assert usage(engine, tenant.id)["search"] == (1, 2, 0)


def test_nobody_elses_and_nothing_that_is_gone(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, api: httpx.Client,
    web: Web,
) -> None:  # fmt: skip
    contacts, documents = filled(worker, tenant.id)
    with web.client(stranger.key) as theirs:
        assert look(theirs, "bread") == []
        assert look(theirs, "bread", kind="documents") == []
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM contacts WHERE id = :id"), {"id": contacts[4]})
    assert str(contacts[4]) not in {each[0] for each in look(api, "bread and cake")}
    assert api.delete(f"/v1/documents/{documents[0]}").status_code == 204
    assert {each[0] for each in look(api, "bread", kind="documents")} == {str(documents[1])}
    assert {subject for subject, *_ in passages(engine, tenant.id)} >= {documents[1]}


def test_more_than_can_be_read_needs_pgvector(
    worker: Worker, tenant: Customer, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(worker, tenant.id)
    monkeypatch.setattr(nearest, "READABLE_ROWS", 4)
    assert_problem(api.get("/v1/search?q=bread"), 422, "search_needs_pgvector")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("busy", "ai_rate_limited"),
        ("broken", "ai_unavailable"),
        ("no_money", "ai_quota"),
        ("half", "ai_unavailable"),
        ("one_less", "ai_broken_answer"),
    ],
)
def test_a_provider_in_trouble_is_a_clear_503(
    api: httpx.Client, engine: Engine, provider: Provider, fault: str, code: str
) -> None:
    provider.faults[:] = [fault]
    answer = api.get("/v1/search?q=bread")
    assert_problem(answer, 503, code)
    assert int(answer.headers["retry-after"]) > 0
    with engine.begin() as tx:
        forget_rate(tx, SYSTEM_TENANT, LIMIT_SCOPE)
    assert api.get("/v1/search?q=bread").json()["items"] == []


def test_a_spent_budget_is_a_429_until_the_month_ends(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    set_budget(engine, tenant.id, "0")
    answer = api.get("/v1/search?q=bread")
    assert_problem(answer, 429, "budget_exhausted")
    assert 0 < int(answer.headers["retry-after"]) <= 31 * 86_400
    set_budget(engine, tenant.id, "1")
    assert api.get("/v1/search?q=bread").status_code == 200


@pytest.mark.parametrize(
    "query", ["", "?q=", "?q=" + "x" * 1001, "?q=a&kind=jobs", "?q=a&limit=0", "?q=a%00b"]
)
def test_what_can_not_be_searched_is_refused(api: httpx.Client, query: str) -> None:
    assert_problem(api.get(f"/v1/search{query}"), 422, "invalid_parameters")
