"""kill -9 in the moment of release: what waited is released once, whoever dies while it is.

The test holds the row of the job that waits. The commit that releases it, or the dispatcher that sends it, then
stands still in that very moment, and is killed there.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text

from app.ledger.flows import Chain, FanIn, Flow, enqueue_flows
from tests.support.fleet import Fleet, fleet_on
from tests.support.flows import assert_honest, state
from tests.support.jobs import assert_lawful, events
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Tally

pytestmark = pytest.mark.long


@pytest.fixture
def fleet(servers: Servers, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_on(servers, tmp_path) as made:
        yield made


class Grip:
    """A row that is held, and who waits for it."""

    def __init__(self, fleet: Fleet, pid: int) -> None:
        self._fleet = fleet
        self._pid = pid

    def wait_for_one(self) -> None:
        """Until somebody stands before the row."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))"
        wait_for(lambda: self._fleet.number(query, pid=self._pid), what="who stands before it")


@contextmanager
def held(fleet: Fleet, job_id: UUID) -> Iterator[Grip]:
    """The job's own row: nobody releases it."""
    with fleet.engine.begin() as tx:
        query = text("SELECT pg_backend_pid() FROM jobs WHERE id = :id FOR UPDATE")
        yield Grip(fleet, tx.execute(query, {"id": job_id}).scalar_one())


@contextmanager
def unmarked(fleet: Fleet, job_id: UUID) -> Iterator[Grip]:
    """The row that says it is with the broker: nobody writes it down as sent."""
    with fleet.engine.connect() as tx:
        query = text("""
            INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
            SELECT id, tenant_id, queue, kind, 1, now() FROM jobs WHERE id = :id
            RETURNING pg_backend_pid()
        """)
        yield Grip(fleet, tx.execute(query, {"id": job_id}).scalar_one())
        tx.rollback()


def kill_children(worker: Popen[bytes]) -> None:
    for child in psutil.Process(worker.pid).children():
        child.kill()


def kill(process: Popen[bytes]) -> None:
    """With its children: the kernel ends them."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def test_what_waits_is_released_once_whoever_is_killed_at_it(fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with fleet.engine.begin() as tx:
        flows: list[Flow] = [
            FanIn([Tally(), Tally()], then=Tally()),
            Chain([Hold(gate=str(gate)), Tally(), Tally()]),
        ]
        one, other, merged, first, second, third = enqueue_flows(tx, fleet.tenant.id, flows)
    with held(fleet, merged) as grip:
        dispatcher = fleet.start_dispatcher()
        worker = fleet.start_worker(concurrency=3)
        grip.wait_for_one()  # the parents: the last one's commit is releasing
        kill_children(worker)
    fleet.wait_until("succeeded", [one, other, merged])
    with unmarked(fleet, third) as sent:
        with held(fleet, third) as grip:
            gate.touch()
            grip.wait_for_one()  # the child that was released is releasing the next one
            assert state(fleet.engine, second) == "running"
            kill(worker)
        fleet.start_worker("worker-2")
        sent.wait_for_one()  # what that one has released is sent, and about to be marked as that
        kill(dispatcher)
    fleet.start_dispatcher("dispatcher-2")
    jobs = [one, other, merged, first, second, third]
    fleet.wait_until("succeeded", jobs)
    fleet.assert_each_done_once(jobs)
    for waited in (merged, second, third):
        assert events(fleet.engine, waited).count("release") == 1
    assert "take_over" in events(fleet.engine, second)
    assert_honest(fleet.engine)
    assert_lawful(fleet.engine)
