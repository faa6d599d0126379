"""A limit of one, and a key: whoever is killed, and when, never two run at once, and the next begins as soon as one may."""

import os
import signal
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.rules import Scope, set_limits
from tests.support.customers import make_customer
from tests.support.fleet import Fleet
from tests.support.jobs import assert_keys_are_kept, events
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import Hold, Rare

pytestmark = pytest.mark.long

SOON_SECONDS = 20.0
"""The lease is a minute, and so is what a lost message is waited for."""
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_LIMITED = text("SELECT id FROM jobs WHERE id = ANY(:ids) FOR UPDATE")


class Lanes:
    """Of each three jobs, of which one may run at a time: by a tenant's limit, a kind's, both, and a key."""

    def __init__(self, fleet: Fleet, gate: str) -> None:
        self._fleet = fleet
        limited = make_customer(fleet.engine).id
        both = make_customer(fleet.engine).id
        with fleet.engine.begin() as tx:
            for tenant in (limited, both):
                set_limits(tx, Scope.TENANT, str(tenant), max_running=1, weight=None)
            set_limits(tx, Scope.KIND, Rare.spec.kind, max_running=1, weight=None)
            by_tenant = [NewJob(job=Hold(gate=gate)) for _ in range(3)]
            by_kind = [NewJob(job=Rare(gate=gate)) for _ in range(2)]
            by_key = [NewJob(job=Hold(gate=gate), concurrency_key="one") for _ in range(3)]
            made = [
                enqueue_many(tx, limited, by_tenant),
                [*enqueue_many(tx, both, by_kind), *enqueue_many(tx, fleet.tenant.id, by_kind)],
                enqueue_many(tx, fleet.tenant.id, by_key),
            ]
        self.jobs = [[one.id for one in lane] for lane in made]
        self.all = [job for lane in self.jobs for job in lane]

    def wait_for_one_of_each(self, state: str) -> list[UUID]:
        """And of none a second; which they are."""
        wait_for(
            lambda: [self._fleet.count(state, lane) for lane in self.jobs] == [1, 1, 1],
            seconds=SOON_SECONDS,
            what=f"one of each {state}",
        )
        self.assert_kept()
        return [job for job in self.all if self._fleet.count(state, [job])]

    def assert_kept(self) -> None:
        """Never are more with the broker or a worker."""
        flying = "SELECT count(*) FROM in_flight WHERE job_id = ANY(:ids)"
        assert [self._fleet.number(flying, ids=lane) for lane in self.jobs] == [1, 1, 1]
        assert_keys_are_kept(self._fleet.engine)


def test_whoever_is_killed_at_whatever_moment(fleet: Fleet) -> None:
    gate = fleet.folder / "at-once-gate"
    if fleet.runs("worker"):
        fleet.stop("worker")
    with Queues(fleet.settings) as queues, fleet.engine.connect() as tx:
        # The dispatcher, when the broker has taken the messages and nothing is committed.
        tx.execute(text("LOCK TABLE in_flight IN EXCLUSIVE MODE"))
        lanes = Lanes(fleet, str(gate))
        wait_for(lambda: queues.depth("default") == 3, what="three messages")
        fleet.kill("dispatcher")
        tx.rollback()
    fleet.start_dispatcher()
    first = lanes.wait_for_one_of_each("queued")
    # A worker that has received its messages and claimed nothing.
    with fleet.engine.connect() as tx:
        tx.execute(_LIMITED, {"ids": first})
        fleet.start_worker("first", concurrency=6)
        wait_for(lambda: fleet.number(_WAITING) >= 3, seconds=SOON_SECONDS, what="the claims")
        fleet.kill("first")
        tx.rollback()
    # One that runs them.
    fleet.start_worker("second", concurrency=6)
    assert lanes.wait_for_one_of_each("running") == first
    fleet.kill("second")
    # One that has done them, and can't say so to the broker: who comes next waits for no word of it.
    fleet.start_worker("third", concurrency=6)
    wait_for(
        lambda: _took_over(fleet, first, "third"), seconds=SOON_SECONDS, what="their new worker"
    )
    os.kill(fleet.pid("third"), signal.SIGSTOP)
    gate.touch()
    fleet.wait_until("succeeded", first, seconds=SOON_SECONDS)
    lanes.wait_for_one_of_each("queued")
    fleet.kill("third")
    fleet.start_worker("fourth", concurrency=6)
    fleet.wait_until("succeeded", lanes.all, seconds=SOON_SECONDS)
    fleet.stop("fourth")
    fleet.assert_each_done_once(lanes.all)
    for lane in lanes.jobs:
        assert fleet.overlaps(lane) == 0
    for job in set(lanes.all) - set(first):
        assert events(fleet.engine, job) == ["enqueue", "dispatch", "claim", "succeed"]


def _took_over(fleet: Fleet, jobs: Sequence[UUID], name: str) -> bool:
    query = """
        SELECT count(*) FROM jobs
        WHERE id = ANY(:ids) AND state = 'running' AND worker LIKE :worker
    """
    return fleet.number(query, ids=list(jobs), worker=f"%{name}%") == len(jobs)
