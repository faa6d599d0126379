"""Posts that share a transaction: each has its own outcome, and none changes another's."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpx
import pytest
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from app.api.idempotency import Answer, Asked, take_turns
from app.api.job_posts import OPERATION, JobPosts, Post
from app.api.job_request import JobRequest
from app.errors import TooManyRequests, Unauthenticated, Unprocessable
from app.keys import revoke_key
from app.ledger.backlog import ALL_TENANTS
from app.ledger.enqueue import enqueue
from app.settings import Settings
from tests.support.customers import Customer, make_customer
from tests.support.deaths import TEST_CATALOG
from tests.support.problems import assert_problem
from tests.support.servers import wait_for
from tests.support.web import web_server

LONG_AGO, FAR_OFF = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


@pytest.fixture
def posts(engine: Engine, settings: Settings) -> JobPosts:
    limited = settings.model_copy(update={"backlog_tenant_max": 10})
    return JobPosts(engine, limited, TEST_CATALOG)


def post(customer: Customer, name: object = "Ada", *, once: str | None = None, **rest: Any) -> Post:
    asked = {"kind": "test.greeting", "payload": {"name": name}, **rest}
    return Post(
        request=JobRequest.model_validate(asked),
        api_key=customer.key,
        idempotency_key=once,
        traceparent=None,
    )


def together(posts: JobPosts, wanted: Sequence[Post]) -> list[Answer | BaseException | None]:
    """All of them are in line before the first is looked at."""

    async def add() -> list[Answer | BaseException | None]:
        return await asyncio.gather(*map(posts.add, wanted), return_exceptions=True)

    return asyncio.run(add())


def kept(engine: Engine) -> list[Any]:
    """The jobs, as they were made; `whole`: with history and outbox row, all of one transaction."""
    with engine.connect() as tx:
        return list(
            tx.execute(
                text("""
                    SELECT CAST(j.id AS text) AS id, j.tenant_id, j.payload, j.xmin::text AS made_by,
                           j.xmin = h.xmin AND j.xmin = o.xmin AS whole
                    FROM jobs j JOIN job_history h ON h.job_id = j.id JOIN outbox o ON o.job_id = j.id
                    ORDER BY j.id
                """)
            )
        )


def full(engine: Engine, customer: Customer) -> None:
    with engine.begin() as tx:
        for tenant in (customer.id, ALL_TENANTS):
            tx.execute(
                text("""
                    INSERT INTO backlog (tenant_id, queue, ready, later, measured_at)
                    VALUES (:tenant, 'default', 10, 0, clock_timestamp())
                """),
                {"tenant": tenant},
            )


def test_each_has_its_own_outcome(posts: JobPosts, engine: Engine) -> None:
    one, two, crowded, revoked = (make_customer(engine) for _ in range(4))
    full(engine, crowded)
    with engine.begin() as tx:
        revoke_key(tx, revoked.key_id)
    wanted = [
        post(one, "a"),
        post(one, kind="no.such"),
        post(two, "b"),
        post(two, 17),
        post(revoked),
        post(crowded),
        post(one, run_at=FAR_OFF),
        post(one, deadline=LONG_AGO),
        post(one, "c", run_at=LONG_AGO, concurrency_key="k"),
    ]
    told = together(posts, wanted)
    assert [type(each) for each in told] == [
        *(Answer, Unprocessable, Answer, RequestValidationError, Unauthenticated),
        *(TooManyRequests, Unprocessable, Unprocessable, Answer),
    ]
    answers = [each for each in told if isinstance(each, Answer)]
    jobs = kept(engine)
    assert [job.payload["name"] for job in jobs] == ["a", "b", "c"]
    assert [job.tenant_id for job in jobs] == [one.id, two.id, one.id]
    assert [job.id for job in jobs] == [answer.body["id"] for answer in answers]
    assert all(job.whole for job in jobs)
    assert len({job.made_by for job in jobs}) == 1, "one transaction"
    assert answers[2].body["concurrency_key"] == "k"


def test_what_the_database_refuses_leaves_all_to_themselves(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    assert together(posts, [post(tenant), post(tenant, "\0"), post(tenant)]) == [None] * 3
    assert kept(engine) == []


def seen(engine: Engine, told: Sequence[Answer | BaseException | None]) -> list[Any]:
    """Of each answer which job it is, by order of appearance, its history and deadline; and what all the jobs came to."""
    shown: list[Any] = []
    order: list[str] = []
    for answer in told:
        assert isinstance(answer, Answer)
        body = answer.body
        order += [] if body["id"] in order else [body["id"]]
        history = [line["event"] for line in body["history"]]
        shown.append((order.index(body["id"]), body["kind"], history, body["unique_key"]))
    jobs = {job.id: job.payload for job in kept(engine)}
    return [*shown, [jobs[job_id] for job_id in order]]


KEYED: dict[str, list[dict[str, Any]]] = {
    "kept": [{}, {}, {}],
    "window": [{"unique_for": 60.0}] * 3,
    "debounce": [{"debounce": 30.0}] * 3,
    "a debounce after one without": [{}, {"debounce": 30.0}, {}],
    "one without after a debounce": [{"debounce": 30.0}, {}, {"debounce": 40.0}],
}


@pytest.mark.parametrize("before", [False, True], ids=["free", "taken"])
@pytest.mark.parametrize("policy", KEYED)
def test_posts_with_one_unique_key_are_answered_as_if_each_were_alone(
    posts: JobPosts, engine: Engine, policy: str, before: bool
) -> None:
    """Neighbours' keys, tenants and kinds make no difference."""
    both = []
    for apart in (False, True):
        with engine.begin() as tx:
            tx.execute(text("TRUNCATE jobs, job_history, outbox"))
        one, two = make_customer(engine), make_customer(engine)
        if before:
            together(posts, [post(one, "old", unique_key="k", **KEYED[policy][0])])
        wanted = [
            post(customer, name + str(number), unique_key=key, **facts)
            for number, facts in enumerate(KEYED[policy])
            for customer, key, name in ((one, "k", "a"), (two, "k", "b"), (one, "i", "c"))
        ]
        told = [together(posts, [each])[0] for each in wanted] if apart else together(posts, wanted)
        both.append(seen(engine, told))
    shared, alone = both
    assert shared == alone
    assert len(shared[-1]) == 3


def test_unique_keys_are_taken_in_their_own_order(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    """Two processes that take them in the order of their lines would wait for each other in a circle."""
    together(posts, [post(tenant, key, unique_key=key) for key in ("b", "c", "a")])
    assert [job.payload["name"] for job in kept(engine)] == ["a", "b", "c"]


def test_nobody_waits_long_for_a_unique_key_that_is_being_taken(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    job = TEST_CATALOG["test.greeting"].model_validate({"name": "Ada"})
    with engine.begin() as tx:
        held = enqueue(tx, tenant.id, job, unique_key="k")
        wanted = [post(tenant, unique_key="k"), post(tenant, unique_key="l"), post(tenant)]
        began = monotonic()
        told = together(posts, wanted)
        assert monotonic() - began < 10
        assert told[:2] == [None, None], "each is on its own"
        assert isinstance(told[2], Answer), "and whoever has no key isn't held up"
    (after,) = together(posts, wanted[:1])
    assert isinstance(after, Answer)
    assert after.body["id"] == str(held.id)
    assert len(kept(engine)) == 2


def test_a_bad_post_among_many_harms_none(
    settings: Settings, tenant: Customer, engine: Engine
) -> None:
    """Over HTTP, where posts with unique keys and browsers' mistakes come along as well."""
    names = [f"n{number}" for number in range(30)]
    bodies = [{"kind": "test.greeting", "payload": {"name": name}} for name in names]
    bodies[7] = {"kind": "test.greeting", "payload": {"name": "\0"}}
    for number in (11, 12, 13):
        bodies[number] = {**bodies[number], "unique_key": "u"}
    with web_server(settings, catalog=TEST_CATALOG) as web, web.client(tenant.key) as api:
        start = threading.Barrier(len(bodies))

        def send(body: dict[str, Any]) -> httpx.Response:
            start.wait(20)
            return api.post("/v1/jobs", json=body)

        with ThreadPoolExecutor(len(bodies)) as pool:
            answers = list(pool.map(send, bodies))
        with web.client("mr_unknown") as stranger:
            assert_problem(stranger.post("/v1/jobs", json={"no": "kind"}), 401, "unauthenticated")
    assert_problem(answers.pop(7), 422, "invalid_text")
    assert {answer.status_code for answer in answers} == {202}
    ids = [answer.json()["id"] for answer in answers]
    assert len(set(ids[10:13])) == 1
    assert sorted(set(ids)) == [job.id for job in kept(engine)]
    assert len(set(ids)) == 27


def test_an_idempotency_key_counts_within_a_transaction_and_after_it(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    other = make_customer(engine)
    wanted = [post(tenant, once="k"), post(tenant, once="k"), post(other, once="k"), post(tenant)]
    first, twin, others, keyless = together(posts, wanted)
    assert twin is None, "it has to wait for the first, and so is on its own"
    assert isinstance(first, Answer)
    assert isinstance(others, Answer)
    assert isinstance(keyless, Answer)
    again, fresh = together(posts, [post(tenant, once="k"), post(tenant, once="l")])
    assert again == first
    assert isinstance(fresh, Answer)
    assert isinstance(together(posts, [post(tenant, "Bob", once="k")])[0], Unprocessable)
    assert len(kept(engine)) == 4


def test_nobody_waits_for_whoever_has_the_turn_of_a_key(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    asked: Asked = (tenant.id, "k")
    with engine.begin() as tx:
        assert take_turns(tx, [asked], OPERATION) == {asked}
        held, free = together(posts, [post(tenant, once="k"), post(tenant, once="l")])
    assert held is None
    assert isinstance(free, Answer)
    assert len(kept(engine)) == 1


@contextmanager
def jobs_locked(engine: Engine) -> Iterator[None]:
    with engine.begin() as tx:
        tx.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        yield


def end_who_waits(engine: Engine) -> bool:
    with engine.begin() as tx:
        query = text("""
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """)
        return bool(tx.execute(query).scalar_one())


def test_a_lost_connection_is_everybodys_error_and_nobodys_job(
    posts: JobPosts, engine: Engine, tenant: Customer
) -> None:
    with ThreadPoolExecutor(1) as pool, jobs_locked(engine):
        waiting = pool.submit(together, posts, [post(tenant), post(tenant, once="k")])
        wait_for(lambda: end_who_waits(engine), what="the shared transaction")
        told = waiting.result(20)
    assert [type(each) for each in told] == [OperationalError] * 2
    assert kept(engine) == []
    assert all(isinstance(each, Answer) for each in together(posts, [post(tenant, once="k")]))
