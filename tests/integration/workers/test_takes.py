"""A worker whose child takes several messages of brief jobs at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.workers.conftest import CHILDREN
from tests.support.fleet import Fleet
from tests.support.jobs import events, job_facts
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import BriefTally, Hold

pytestmark = pytest.mark.long

TAKES = 8
ONCE = ["enqueue", "dispatch", "claim", "succeed"]


@pytest.fixture
def taker(fleet: Fleet) -> Iterator[str]:
    """The name of a worker with one child; the other one, where it runs, is stopped."""
    name = "taker"
    if fleet.runs("worker"):
        fleet.stop("worker")
    fleet.start_worker(name, concurrency=1, worker_takes=TAKES)
    yield name
    if fleet.runs(name):
        fleet.stop(name)


def put_back(fleet: Fleet, jobs: Sequence[UUID]) -> int:
    query = "SELECT count(DISTINCT job_id) FROM job_history WHERE event = 'rescue' AND job_id = ANY(:ids)"
    return fleet.number(query, ids=list(jobs))


def held(fleet: Fleet, gate: Path) -> UUID:
    """A job that has the worker's child until the gate is there."""
    (job,) = fleet.enqueue([Hold(gate=str(gate))])
    fleet.wait_until("running", [job])
    return job


def test_what_came_apart_has_a_commit_each_and_one_that_kills_the_child_is_found(
    fleet: Fleet, taker: str
) -> None:
    ids = fleet.enqueue([BriefTally() for _ in range(40)])
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)
    assert [events(fleet.engine, job) for job in ids] == [ONCE] * len(ids)
    commits = "SELECT count(DISTINCT xmin::text) FROM tallies WHERE job_id = ANY(:ids)"
    assert fleet.number(commits, ids=ids) == len(ids)

    jobs = fleet.enqueue([BriefTally(kills=number == 3) for number in range(6)])
    killer = jobs.pop(3)
    fleet.wait_until("dead", [killer])
    fleet.wait_until("succeeded", jobs)
    fleet.assert_each_done_once(jobs)
    facts = job_facts(fleet.engine, killer)
    assert facts.error is not None
    assert (facts.error["code"], facts.attempt) == ("worker_lost", 4)

    assert fleet.stop(taker).status == 0
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0, "all were acknowledged"


def test_what_finds_no_child_goes_to_a_worker_that_has_one(fleet: Fleet, taker: str) -> None:
    gate = fleet.folder / "taker-gate"
    long = held(fleet, gate)
    jobs = fleet.enqueue([BriefTally() for _ in range(TAKES - 2)])
    wait_for(lambda: put_back(fleet, jobs) == len(jobs), what="the jobs in the outbox again")
    fleet.start_worker(concurrency=CHILDREN)
    fleet.wait_until("succeeded", jobs)
    fleet.assert_each_done_once(jobs)
    assert fleet.count("running", [long]) == 1
    fleet.stop("worker")

    gate.touch()
    fleet.wait_until("succeeded", [long])
    more = fleet.enqueue([BriefTally() for _ in range(20)])
    fleet.wait_until("succeeded", more)
    assert put_back(fleet, more) == 0, "there was room again"
    assert fleet.stop(taker).status == 0
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0, "those that were kept are acknowledged"


def test_one_that_is_told_to_stop_hands_back_what_it_holds(fleet: Fleet, taker: str) -> None:
    before = fleet.ran_twice()
    gate = fleet.folder / "stopping-gate"
    long = held(fleet, gate)
    jobs = fleet.enqueue([BriefTally() for _ in range(4)])
    with Queues(fleet.settings) as queues:
        wait_for(lambda: fleet.count("queued", jobs) == len(jobs) and not queues.depth("default"))
        assert fleet.stop(taker).status == 0
    gate.touch()
    fleet.start_worker(concurrency=CHILDREN)
    fleet.wait_until("succeeded", [long, *jobs])
    fleet.assert_each_done_once([long, *jobs])
    assert fleet.ran_twice() == before + 1, "the long one, and no other"
