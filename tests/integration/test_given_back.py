"""A child dies, and the broker has its job's message no more: the worker itself puts the job back."""

import os
import signal
from collections.abc import Iterator
from uuid import UUID

import psutil
import pytest

from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful, events
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold

pytestmark = pytest.mark.long

SOON_SECONDS = 15.0
"""A second and a half on an idle machine; the lease is a minute."""


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_on(servers, tmp_path_factory.mktemp("given-back")) as made:
        made.start_dispatcher()
        yield made


def test_a_job_whose_message_is_gone_runs_again_soon_after_its_child_died(
    fleet: Fleet, servers: Servers
) -> None:
    """The other jobs of that worker go on, though their messages are gone as well."""
    main = fleet.start_worker(concurrency=2)
    gates = [fleet.folder / "gate-0", fleet.folder / "gate-1"]
    held = fleet.enqueue([Hold(gate=str(gate)) for gate in gates])
    fleet.wait_until("running", held)
    servers.rabbitmqctl("delete_queue", "--vhost", "millrace", "default")
    wait_for(lambda: _consumers(servers) == 1, what="the queue and its consumer again")

    victim = psutil.Process(main.pid).children()[0]
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
    assert assert_lawful(fleet.engine) == len(held)


def _consumers(servers: Servers) -> int:
    listed = servers.rabbitmqctl("list_consumers", "--vhost", "millrace", "queue_name")
    return listed.splitlines().count("default")


def _rescued(fleet: Fleet, jobs: list[UUID]) -> list[UUID]:
    return [job for job in jobs if "rescue" in events(fleet.engine, job)]
