"""Jobs that travel in one message: each is an attempt of its own, whatever becomes of the others."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from sqlalchemy import Engine

from app.broker.message import JobMessage
from app.broker.publisher import Publisher
from app.broker.topology import EXCHANGE
from app.dispatcher import dispatch_batch
from app.ledger.contract import JobContract, catalog
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import SmallNote, add, add_queued, assert_lawful, events, job_facts
from tests.support.queues import Queues, arguments_of
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Doomed, Killer, Tally

ONCE = ["enqueue", "dispatch", "claim", "succeed"]


def test_the_dispatcher_puts_them_in_one_message(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    ids = [str(add(engine, tenant.id, SmallNote())) for _ in range(4)]
    publisher = Publisher(settings)
    with engine.begin() as tx:
        assert dispatch_batch(tx, publisher, batch=10, catalog=catalog((SmallNote,))) == 4
    publisher.close()
    first, second = (arguments_of(message) for message in queues.take_all("default"))
    assert [[first["job_id"], first["attempt"]], *first["companions"]] == [
        [one, 1] for one in ids[:3]
    ]
    assert second == {"job_id": ids[3], "version": 1, "attempt": 1}
    assert {job_facts(engine, UUID(job_id)).state for job_id in ids} == {"queued"}


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A worker with one child, and nobody but the test who publishes."""
    with fleet_on(servers, tmp_path_factory.mktemp("together")) as made:
        made.start_worker(concurrency=1)
        yield made


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[Queues]:
    with Queues(fleet.settings) as opened:
        yield opened


def send(fleet: Fleet, broker: Queues, jobs: Sequence[JobContract]) -> list[UUID]:
    """All of these in one message of the first one's kind."""
    ids = [add_queued(fleet.engine, fleet.tenant.id, job) for job in jobs]
    message = JobMessage(
        job_id=ids[0],
        kind=jobs[0].spec.kind,
        version=1,
        attempt=1,
        queue="default",
        companions=[(job_id, 1) for job_id in ids[1:]],
    )
    broker.publish(EXCHANGE, "default", message.encode())
    return ids


def test_each_runs_once_in_order(fleet: Fleet, broker: Queues) -> None:
    ids = send(fleet, broker, [Tally() for _ in range(5)])
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)
    assert [events(fleet.engine, job_id) for job_id in ids] == [ONCE] * 5


def test_one_that_kills_the_worker_costs_the_others_nothing(fleet: Fleet, broker: Queues) -> None:
    before, killer, after = send(fleet, broker, [Tally(), Killer(), Tally()])
    fleet.wait_until("dead", [killer])
    fleet.wait_until("succeeded", [before, after])
    fleet.assert_each_done_once([before, after])
    assert events(fleet.engine, before) == events(fleet.engine, after) == ONCE
    facts = job_facts(fleet.engine, killer)
    assert facts.error is not None
    assert (facts.error["code"], facts.attempt) == ("worker_lost", 4)
    assert_lawful(fleet.engine)


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_dies_does_not_stop_the_others(fleet: Fleet, broker: Queues, place: int) -> None:
    jobs: list[JobContract] = [Tally(), Tally()]
    jobs.insert(place, Doomed())
    ids = send(fleet, broker, jobs)
    dead = ids.pop(place)
    fleet.wait_until("dead", [dead])
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)
    wait_for(lambda: len(broker.job_ids("dead")) == (place == 0), what="the dead letter, if any")
