"""Jobs that travel in one message: each is an attempt of its own, whatever becomes of the others."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from app.broker.message import JobMessage
from app.broker.topology import EXCHANGE
from app.ledger.contract import JobContract
from tests.support.fleet import Fleet
from tests.support.jobs import add_queued, assert_lawful, events, job_facts
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import Doomed, Killer, Tally

ONCE = ["enqueue", "dispatch", "claim", "succeed"]


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
    """Not even the wait for all of its attempts: who comes behind it is sent again without it."""
    before, killer, after = send(fleet, broker, [Tally(), Killer(), Tally()])
    fleet.wait_until("dead", [killer])
    fleet.wait_until("succeeded", [before])
    fleet.assert_each_done_once([before])
    assert events(fleet.engine, before) == ONCE
    assert events(fleet.engine, after) == ["enqueue", "dispatch", "rescue"]
    assert job_facts(fleet.engine, after).outbox  # there is no dispatcher here
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
