"""The database's answer is lost at the worst moment: nothing hangs, and nothing is lost."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.main import create_app
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, count, events, job_facts, last_cause, requeue
from tests.support.runtime import Worker
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done


@contextmanager
def _listening(engine: Engine, moment: str, listener: Callable[..., None]) -> Iterator[None]:
    event.listen(engine, moment, listener)
    try:
        yield
    finally:
        event.remove(engine, moment, listener)


@contextmanager
def _statement_answer_lost_once(engine: Engine, *, containing: str) -> Iterator[None]:
    """The first such statement is carried out, and then the connection breaks."""
    left = [1]

    def lose(driver: psycopg.Connection, *_: Any) -> None:
        carry_out = driver.execute

        def execute(query: str, *arguments: Any) -> psycopg.Cursor:
            answer = carry_out(query, *arguments)
            if containing in query and left:
                left.pop()
                driver.close()
                raise psycopg.OperationalError("gone")
            return answer

        driver.execute = execute  # type: ignore[method-assign,assignment]

    with _listening(engine, "checkout", lose):
        yield
    assert not left, "the moment never came"


@contextmanager
def _commit_answer_lost_once(engine: Engine) -> Iterator[None]:
    """The first commit is carried out, and then the connection breaks."""
    left = [1]

    def commit(connection: Connection) -> None:
        if left:
            left.pop()
            connection.connection.commit()
            raise OperationalError("COMMIT", None, psycopg.OperationalError("gone"))

    with _listening(engine, "commit", commit):
        yield
    assert not left, "the moment never came"


def test_a_claim_whose_answer_was_lost_is_made_again(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """The first claim is committed; without a second one nobody would ever run the job."""
    worker.handle(Note, lambda _ctx, _job: Done())
    job_id = add_queued(engine, tenant.id, Note())
    with _statement_answer_lost_once(engine, containing="WITH target"):
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert events(engine, job_id)[2:] == ["claim", "take_over", "succeed"]
    assert last_cause(engine, job_id, "take_over") == "claim_unanswered"


def test_a_death_is_recorded_even_when_its_hook_fails(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def ended(_: Connection, __: JobContract, ___: Ending) -> Sequence[JobContract]:
        raise RuntimeError("a bug in the hook")

    worker.handle(Note, lambda _ctx, _job: Dead("no"), ended=ended)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    assert job_facts(engine, job_id).state == "dead"


def test_an_upload_whose_commit_is_in_doubt_keeps_its_file(
    settings: Settings, storage: Storage, engine: Engine, tenant: Customer
) -> None:
    """The commit was made, only its answer lost: repeated with its key, the request finds all of it."""
    app = create_app(settings)
    web_engine: Engine = app.state.engine
    headers = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": "one"}

    async def post(client: httpx.AsyncClient) -> httpx.Response:
        files = {"file": ("a.csv", b"email\na@b.com\n", "text/csv")}
        return await client.post("/v1/imports", files=files, headers=headers)

    async def twice() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
            with _commit_answer_lost_once(web_engine):
                first = await post(client)
            return first, await post(client)

    first, second = asyncio.run(twice())
    web_engine.dispose()
    assert first.status_code == 503
    assert first.json()["type"].endswith("outcome_unknown")
    assert second.status_code == 202
    assert count(engine, "imports") == 1
    assert len(storage.keys()) == 1
    assert second.json()["id"] in storage.keys()[0]


def test_a_connection_that_is_lost_at_work_costs_no_attempt_but_not_twice_in_a_row(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """What ends its own connection each time dies of its attempts, if twice as slowly."""

    def handler(ctx: Context, _: JobContract) -> Done:
        with ctx.transaction() as tx:
            tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    left = [Note.spec.retry.attempts]
    while worker.deliver(job_id) is not Disposition.DEAD_LETTER:
        facts = job_facts(engine, job_id)
        left.append(facts.max_attempts - facts.attempt)
        requeue(engine, job_id)
    assert left == [3, 3, 2, 2, 1, 1]
    assert [one for one in events(engine, job_id) if one in {"snooze", "retry", "die"}] == [
        *("snooze", "retry", "snooze", "retry", "snooze", "die")
    ]
