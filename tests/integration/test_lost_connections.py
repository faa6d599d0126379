"""The database's answer is lost at the worst moment: nothing hangs, and nothing is lost."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from app.ledger.contract import JobContract
from app.main import create_app
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, count, events, job_facts
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done


@contextmanager
def _answer_lost_once(engine: Engine, moment: str, *, containing: str = "") -> Iterator[None]:
    """The first statement (or commit) is carried out, and then the connection breaks."""
    left = [1]

    def after_execute(*arguments: Any) -> None:
        if containing in arguments[2] and left:
            left.pop()
            raise OperationalError(arguments[2], None, psycopg.OperationalError("gone"))

    def commit(connection: Connection) -> None:
        if left:
            left.pop()
            connection.connection.commit()
            raise OperationalError("COMMIT", None, psycopg.OperationalError("gone"))

    listener = after_execute if moment == "after_cursor_execute" else commit
    event.listen(engine, moment, listener)
    try:
        yield
    finally:
        event.remove(engine, moment, listener)
    assert not left, "the moment never came"


def test_a_claim_whose_answer_was_lost_is_made_again(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """The first claim is committed; without a second one nobody would ever run the job."""
    worker.handle(Note, lambda _ctx, _job: Done())
    job_id = add_queued(engine, tenant.id, Note())
    with _answer_lost_once(engine, "after_cursor_execute", containing="WITH target"):
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert events(engine, job_id)[2:] == ["claim", "take_over", "succeed"]


def test_a_death_is_recorded_even_when_its_hook_fails(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def on_dead(_: Connection, __: JobContract, ___: dict[str, str]) -> Sequence[JobContract]:
        raise RuntimeError("a bug in the hook")

    worker.handle(Note, lambda _ctx, _job: Dead("no"), on_dead=on_dead)
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
            with _answer_lost_once(web_engine, "commit"):
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
