"""A round of the dispatcher isn't flushed: a database that crashes forgets it, and that costs a message, nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psutil
import psycopg
import pytest
from sqlalchemy import Engine

from app.broker.publisher import Publisher
from app.dispatcher import dispatch_batch
from app.ledger.contract import JobContract
from app.settings import Settings
from infra.local.system import LocalSystem
from tests.support.customers import Customer
from tests.support.jobs import Note, add, assert_lawful, claim_now, events, job_facts
from tests.support.queues import Queues
from tests.support.runtime import Worker
from tests.support.servers import Servers, wait_for
from workers.runtime.attempt import Delivery
from workers.runtime.context import Context
from workers.runtime.executor import Disposition, execute
from workers.runtime.outcome import Done

Crash = Callable[[], None]


@pytest.fixture(scope="module")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """One that flushes what tests commit, does nothing by itself, and may be hurt."""
    with LocalSystem(tmp_path_factory.mktemp("crash"), programs=("postgres",)) as system:
        system.run_command("migrate")
        with psycopg.connect(system.postgres.superuser_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        yield system


@pytest.fixture
def environment(servers: Servers, database_server: LocalSystem) -> dict[str, str]:
    shared = servers.environment("postgres")
    return {**shared, "MILLRACE_DATABASE_URL": database_server.postgres.url()}


@pytest.fixture
def crash(database_server: LocalSystem, engine: Engine) -> Iterator[Crash]:
    """Crashes the server, and waits until it has recovered. What is left to the WAL writer to flush isn't, until then."""
    url = database_server.postgres.superuser_url
    with _walwriter_standing(url) as walwriter:

        def crash_now() -> None:
            walwriter.kill()  # the server takes that for a crash of all, and begins anew from what is on disk
            wait_for(lambda: _walwriter(url) not in {None, walwriter.pid}, what="the recovery")
            engine.dispose()

        yield crash_now


@contextmanager
def _walwriter_standing(url: str) -> Iterator[psutil.Process]:
    number = _walwriter(url)
    assert number is not None
    process = psutil.Process(number)
    process.suspend()
    try:
        yield process
    finally:
        if process.is_running():
            process.resume()


def _walwriter(url: str) -> int | None:
    """Its process, where the server takes connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.OperationalError:
        return None
    return None if row is None else int(row[0])


def _dispatch(engine: Engine, publisher: Publisher, job_id: UUID) -> None:
    with engine.begin() as tx:
        dispatch_batch(tx, publisher, batch=10)
    assert job_facts(engine, job_id).state == "queued"


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings, heartbeat=0)
    yield made
    made.close()


def test_a_crash_that_takes_a_dispatch_back_costs_a_second_message(
    engine: Engine,
    tenant: Customer,
    queues: Queues,
    publisher: Publisher,
    worker: Worker,
    crash: Crash,
) -> None:
    ran: list[JobContract] = []

    def handle(_context: Context, job: JobContract) -> Done:
        ran.append(job)
        return Done()

    worker.handle(Note, handle)
    job_id = add(engine, tenant.id, Note())
    _dispatch(engine, publisher, job_id)
    crash()
    assert job_facts(engine, job_id).state == "scheduled"
    assert queues.job_ids() == [str(job_id)]
    early = Delivery(
        job_id=job_id, kind=Note.spec.kind, attempt=1, worker="test@here", redelivered=False
    )
    assert execute(worker.runtime, early) is Disposition.ACKNOWLEDGE
    assert ran == []
    _dispatch(engine, publisher, job_id)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert ran == [Note()]
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim", "succeed"]
    assert_lawful(engine)


def test_a_job_that_began_was_dispatched_whatever_crashes(
    engine: Engine,
    tenant: Customer,
    queues: Queues,
    publisher: Publisher,
    crash: Crash,
) -> None:
    job_id = add(engine, tenant.id, Note())
    _dispatch(engine, publisher, job_id)
    with engine.begin() as tx:
        assert claim_now(tx, job_id) is not None
    crash()
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt) == ("running", 1)
    assert events(engine, job_id) == ["enqueue", "dispatch", "claim"]
    assert queues.job_ids() == [str(job_id)]
