"""A child dies, and the broker has its job's message no more: the worker itself puts the job back."""

import os
import signal
from uuid import UUID

import psutil
import pytest

from tests.support.fleet import Fleet
from tests.support.jobs import events
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import Hold

pytestmark = pytest.mark.long

SOON_SECONDS = 15.0
"""A second and a half on an idle machine; the lease is a minute."""


def test_a_job_whose_message_is_gone_runs_again_soon_after_its_child_died(
    fleet: Fleet, worker: str
) -> None:
    """The other jobs of that worker go on, though their messages are gone as well."""
    gates = [fleet.folder / "lost-gate-0", fleet.folder / "lost-gate-1"]
    held = fleet.enqueue([Hold(gate=str(gate)) for gate in gates])
    fleet.wait_until("running", held)
    with Queues(fleet.settings) as queues:
        queues.channel.queue_delete("default")
        wait_for(lambda: queues.consumers("default") == 1, what="the queue and its consumer again")

    victim = psutil.Process(fleet.pid(worker)).children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    wait_for(lambda: _rescued(fleet, held), seconds=SOON_SECONDS, what="the job in the outbox")
    fleet.wait_until("running", held, seconds=SOON_SECONDS)
    (rescued,) = _rescued(fleet, held)
    (survivor,) = {*held} - {rescued}
    for gate in gates:
        gate.touch()
    fleet.wait_until("succeeded", held)
    fleet.assert_each_done_once(held)
    again = ["claim", "rescue", "dispatch", "claim", "succeed"]
    assert events(fleet.engine, rescued)[2:] == again
    assert events(fleet.engine, survivor)[2:] == ["claim", "succeed"]


def _rescued(fleet: Fleet, jobs: list[UUID]) -> list[UUID]:
    return [job for job in jobs if "rescue" in events(fleet.engine, job)]
