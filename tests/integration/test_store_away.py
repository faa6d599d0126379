"""The object store is away, for however long: jobs that need it wait, and none of their attempts is used up."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from pydantic import SecretStr
from sqlalchemy import Engine, text

from app.ledger.contract import JobContract
from app.ledger.put_off import PAUSES
from app.settings import Settings
from app.storage import make_storage
from infra.local.ports import choose_ports
from tests.chaos.links import Links
from tests.support.customers import Customer
from tests.support.jobs import (
    Note,
    add_queued,
    assert_lawful,
    job_facts,
    requeue,
)
from tests.support.lines import lines_to
from tests.support.runtime import SoftTimeout, Worker
from tests.support.servers import Servers, wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done, PermanentError

KEY = "away/object"


@pytest.fixture
def port(tmp_path: Path) -> dict[str, int]:
    return choose_ports(("control", "s3"), tmp_path / "ports.json", seed=str(tmp_path))


@pytest.fixture
def environment(environment: dict[str, str], port: dict[str, int]) -> dict[str, str]:
    straight = environment["MILLRACE_S3_ENDPOINT_URL"]
    behind = straight.replace(f":{urlsplit(straight).port}", f":{port['s3']}")
    return {**environment, "MILLRACE_S3_ENDPOINT_URL": behind}


@pytest.fixture
def line(servers: Servers, port: dict[str, int], tmp_path: Path) -> Iterator[Links]:
    url = str(Settings.of(servers.system.settings).s3_endpoint_url)
    with lines_to(tmp_path, {"s3": urlsplit(url).port or 0}, port) as links:
        yield links


@pytest.fixture
def worker(
    line: Links, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """Its store is asked once for each thing: how often botocore asks is not what this is about."""
    storage = make_storage(settings, patient=False)
    storage.ensure_bucket()
    storage.put(KEY, b"here", content_type="text/plain")
    made = Worker(engine, storage, settings, monkeypatch)
    yield made
    made.close()


def read(ctx: Context, _job: JobContract) -> Done:
    with ctx.transaction() as tx:
        tx.execute(text("UPDATE jobs SET progress_done = 7 WHERE id = :id"), {"id": ctx.job.id})
    assert ctx.storage.read_range(KEY, 0, 4) == b"here"
    return Done()


def told(engine: Engine, job_id: UUID) -> list[tuple[str, str | None]]:
    """How each attempt ended."""
    query = text("""
        SELECT event, detail->>'code' FROM job_history
        WHERE job_id = :id AND event IN ('snooze', 'retry', 'die', 'succeed') ORDER BY id
    """)
    with engine.connect() as tx:
        return [tuple(row) for row in tx.execute(query, {"id": job_id})]


def goes_on(
    worker: Worker,
    engine: Engine,
    job_id: UUID,
    until: tuple[str, str | None] = ("succeed", None),
) -> None:
    """The store answers again: for a second that isn't believed."""

    def ended() -> bool:
        if job_facts(engine, job_id).outbox:
            requeue(engine, job_id)
        worker.deliver(job_id)
        return told(engine, job_id)[-1] == until

    wait_for(ended, what=f"{until}")


@pytest.mark.parametrize("mode", ["cut", "http_500"])
def test_an_outage_of_any_length_costs_no_attempt(
    worker: Worker, line: Links, engine: Engine, tenant: Customer, mode: str
) -> None:
    worker.handle(Note, read)
    job_id = add_queued(engine, tenant.id, Note())
    outage = 9  # three attempts are all that it has
    with line.disturbed("s3", mode):
        for number in range(outage):
            assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
            facts = job_facts(engine, job_id)
            assert (facts.state, facts.max_attempts - facts.attempt) == ("scheduled", 3)
            assert facts.wait_seconds <= min(PAUSES.base_seconds * 2**number, PAUSES.cap_seconds)
            assert facts.error is not None
            assert facts.error["code"] == "store_away"
            assert facts.error["message"].startswith("The object store was away: ")
            assert facts.progress_done is None, "what the attempt wrote is gone"
            requeue(engine, job_id)
    goes_on(worker, engine, job_id)
    assert {*told(engine, job_id)} == {("snooze", "store_away"), ("succeed", None)}
    assert assert_lawful(engine) == 1


def test_a_store_that_hangs_is_seen_by_the_time_limit(
    worker: Worker, line: Links, engine: Engine, tenant: Customer
) -> None:
    def hang(_ctx: Context, _job: JobContract) -> Done:
        raise SoftTimeout

    worker.handle(Note, hang)
    job_id = add_queued(engine, tenant.id, Note())
    with line.disturbed("s3", "half_open", direction="both"):
        worker.deliver(job_id)
    goes_on(worker, engine, job_id, until=("retry", "soft_time_limit"))  # it's the job that is slow
    assert told(engine, job_id)[0] == ("snooze", "store_away")


def test_whoever_met_it_leaves_it_alone_until_it_answers(
    worker: Worker, line: Links, engine: Engine, tenant: Customer
) -> None:
    got: list[str] = []

    def handler(ctx: Context, job: JobContract) -> Done:
        storage = ctx.storage
        got.append("the store")
        storage.read_range(KEY, 0, 4)
        return Done()

    worker.handle(Note, handler)
    first, second = (add_queued(engine, tenant.id, Note()) for _ in range(2))
    with line.disturbed("s3", "cut"):
        worker.deliver(first)
        worker.deliver(second)
    assert got == ["the store"]
    assert told(engine, second) == [("snooze", "store_away")]
    goes_on(worker, engine, second)


def test_a_key_that_the_store_refuses_costs_no_attempt(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was changed, or has run out: until the worker has the new one, each job would die of it."""
    old = settings.model_copy(update={"s3_secret_access_key": SecretStr("another")})
    refused = Worker(engine, make_storage(old, patient=False), old, monkeypatch)
    worker.handle(Note, read)
    job_id = add_queued(engine, tenant.id, Note())
    for _ in range(9):
        assert refused.deliver(job_id) is Disposition.ACKNOWLEDGE
        requeue(engine, job_id)
    refused.close()
    goes_on(worker, engine, job_id)
    assert {*told(engine, job_id)} == {("snooze", "store_away"), ("succeed", None)}


@pytest.mark.parametrize(
    "own",
    [
        ConnectionClosedError(endpoint_url="http://store/object"),
        ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject"),  # type: ignore[typeddict-item]
    ],
    ids=["breaks off", "is refused"],
)
def test_an_object_at_which_the_store_breaks_off_for_itself_is_the_job_s_own_end(
    worker: Worker, engine: Engine, tenant: Customer, own: Exception
) -> None:
    """The first may be an outage that is over; a second time in a row it isn't, with a store that answers."""

    def handler(_ctx: Context, _job: JobContract) -> Done:
        raise own

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    while worker.deliver(job_id) is not Disposition.DEAD_LETTER:
        requeue(engine, job_id)
    free, counted = ("snooze", "store_away"), ("retry", "exception")
    assert told(engine, job_id) == [free, counted, free, counted, free, ("die", "exception")]


def test_a_store_that_has_no_such_bucket_is_not_away(
    worker: Worker, engine: Engine, tenant: Customer, settings: Settings
) -> None:
    nowhere = make_storage(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))

    def handler(_ctx: Context, _job: JobContract) -> Done:
        nowhere.check()
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    assert told(engine, job_id) == [("retry", "exception")]


def test_what_a_handler_makes_of_it_is_not_the_end_of_the_job(
    worker: Worker, line: Links, engine: Engine, tenant: Customer
) -> None:
    """A reader that meets the end of the line in the middle of a file may take the file for broken."""

    def handler(ctx: Context, _job: JobContract) -> Done:
        try:
            ctx.storage.read_range(KEY, 0, 4)
        except Exception as broken:
            raise PermanentError("The file is damaged.", code="damaged") from broken
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    with line.disturbed("s3", "cut"):
        worker.deliver(job_id)
    assert told(engine, job_id) == [("snooze", "store_away")]
