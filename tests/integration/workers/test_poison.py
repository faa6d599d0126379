"""Jobs that are bad for their worker: each is stopped, and its neighbours don't notice."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.integration.workers.conftest import CHILDREN
from tests.support.fleet import Fleet
from tests.support.jobs import events, job_facts
from tests.support.servers import Servers
from tests.support.worker_jobs import Hog, Killer, Maniac, Query, Slow, Tally

pytestmark = pytest.mark.long

RECOVERY_SECONDS = 10.0
"""Half a second on an idle machine; a lease is a minute."""
IMPATIENCE = 3
"""The broker's delivery limit, for once."""


def rows(fleet: Fleet, query: str, job_id: UUID) -> list[tuple[Any, ...]]:
    with fleet.engine.connect() as tx:
        return [tuple(row) for row in tx.execute(text(query), {"id": job_id})]


def seconds_between_attempts(fleet: Fleet, job_id: UUID) -> list[float]:
    query = """
        SELECT extract(epoch FROM at - lag(at) OVER (ORDER BY id))::float, event
        FROM job_history WHERE job_id = :id
    """
    return [pause for pause, event in rows(fleet, query, job_id) if event == "take_over"]


def assert_undisturbed(fleet: Fleet, neighbours: Sequence[UUID]) -> None:
    fleet.wait_until("succeeded", neighbours)
    fleet.assert_each_done_once(neighbours)
    query = "SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND attempt > 1"
    assert fleet.number(query, ids=list(neighbours)) == 0


@pytest.mark.usefixtures("worker")
def test_a_job_that_kills_its_worker_dies_of_its_attempts(fleet: Fleet) -> None:
    said = len(fleet.processes.log("worker"))
    first = fleet.enqueue([Tally() for _ in range(20)])
    (killer,) = fleet.enqueue([Killer()])
    neighbours = first + fleet.enqueue([Tally(seconds=0.02) for _ in range(60)])

    fleet.wait_until("dead", [killer])

    facts = job_facts(fleet.engine, killer)
    assert facts.error is not None
    assert facts.error["code"] == "worker_lost"
    assert facts.attempt == 4  # three that were lost, and the one that says so
    begun = [event for event in events(fleet.engine, killer) if event in {"claim", "take_over"}]
    assert len(begun) == 4  # on a very busy machine the worker may be quicker than the broker
    assert events(fleet.engine, killer)[-1] == "die"
    assert max(seconds_between_attempts(fleet, killer)) < RECOVERY_SECONDS
    assert_undisturbed(fleet, neighbours)
    log = fleet.processes.log("worker")[said:].splitlines()
    told = [json.loads(line) for line in log if "SIGKILL" in line]
    assert {line["event"] for line in told} == {"multiprocessing", "celery.worker.request"}
    lost = [line for line in told if line["event"] == "celery.worker.request"]
    assert {(line["job_id"], line["kind"]) for line in lost} == {(str(killer), Killer.spec.kind)}


@pytest.mark.usefixtures("worker")
def test_a_job_that_outlives_the_broker_s_patience_is_a_dead_letter(
    fleet: Fleet, servers: Servers
) -> None:
    with servers.delivery_limit(IMPATIENCE):
        (maniac,) = fleet.enqueue([Maniac()])
        neighbours = fleet.enqueue([Tally(seconds=0.02) for _ in range(60)])
        fleet.wait_until("dead", [maniac])
    facts = job_facts(fleet.engine, maniac)
    assert facts.error is not None
    assert facts.error["code"] == "delivery_limit"
    assert facts.attempt == IMPATIENCE + 1
    ((death,),) = rows(fleet, "SELECT x_death -> 0 FROM dead_letters WHERE job_id = :id", maniac)
    assert (death["queue"], death["reason"]) == ("default", "delivery_limit")
    assert_undisturbed(fleet, neighbours)


@pytest.mark.usefixtures("worker")
class TestSoftLimit:
    def test_the_handler_may_clean_up_and_is_tried_again(self, fleet: Fleet) -> None:
        tidied = fleet.folder / "tidied"
        (slow,) = fleet.enqueue([Slow(tidied=str(tidied))])
        neighbours = fleet.enqueue([Tally(seconds=0.02) for _ in range(30)])
        fleet.wait_until("succeeded", [slow])
        assert tidied.exists()
        history = ["claim", "retry", "dispatch", "claim", "succeed"]
        assert events(fleet.engine, slow)[2:] == history
        query = "SELECT detail->>'code' FROM job_history WHERE job_id = :id AND event = 'retry'"
        assert rows(fleet, query, slow) == [("soft_time_limit",)]
        fleet.assert_each_done_once([slow])
        assert_undisturbed(fleet, neighbours)

    def test_a_statement_that_ran_then_holds_no_locks_afterwards(self, fleet: Fleet) -> None:
        """It would run for a minute, with a lock that the second attempt needs."""
        (query,) = fleet.enqueue([Query()])
        fleet.wait_until("succeeded", [query], seconds=20)
        assert job_facts(fleet.engine, query).attempt == 2


def test_a_child_that_took_too_much_memory_is_replaced_between_jobs(
    fleet: Fleet, worker: str
) -> None:
    fleet.stop(worker)
    fleet.start_worker(concurrency=1, worker_max_memory_per_child_kib=400_000)
    before = fleet.enqueue([Tally() for _ in range(20)])
    (hog,) = fleet.enqueue([Hog(mib=400)])
    after = fleet.enqueue([Tally() for _ in range(20)])
    fleet.wait_until("succeeded", [*before, hog, *after])
    assert_undisturbed(fleet, [*before, hog, *after])
    (first,), (second,) = fleet.pids([*before, hog]), fleet.pids(after)
    assert first != second
    fleet.stop(worker)


def test_children_that_are_replaced_by_count_lose_nothing(fleet: Fleet) -> None:
    fleet.start_worker(concurrency=CHILDREN, worker_max_tasks_per_child=20)
    ids = fleet.enqueue([Tally() for _ in range(80)])
    assert_undisturbed(fleet, ids)
    assert len(fleet.pids(ids)) >= 4
