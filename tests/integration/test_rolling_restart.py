"""Every process is told to stop under full load, each in its turn: nobody notices.

Two of each kind. The first is replaced, and does the work alone once the second has ended. Nothing is lost, no effect
happens twice, no job runs twice, no request fails, and each process ends by itself, with exit status 0 and within its
grace time.
"""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from uuid import UUID

import pytest

from infra.local.program import Program
from tests.support.balancer import Balancer, Traffic
from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful, count
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Tally, UrgentTally

pytestmark = pytest.mark.long

ROWS = 20
ENOUGH = 20
"""Waiting jobs that keep both workers busy for longer than it takes to add more."""
WEB_DRAIN_SECONDS = 1.0
GRACE_SECONDS = 20.0


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("rolling")
    with fleet_on(servers, folder, web_drain_seconds=WEB_DRAIN_SECONDS) as made:
        yield made


def free_ports(number: int) -> list[int]:
    found = []
    for _ in range(number):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            found.append(int(free.getsockname()[1]))
    return found


def programs_on(fleet: Fleet, ports: list[int]) -> dict[str, Program]:
    product = fleet.product()
    made = [
        *(product.web(f"web-{n}", port) for n, port in enumerate(ports)),
        *(product.dispatcher(f"dispatcher-{n}") for n in range(2)),
        *(product.worker(f"worker-{n}", "high,default", 1) for n in range(2)),
    ]
    return {program.name: program for program in made}


class Stream:
    """Enqueues small jobs for both queues, on and on."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.ids: list[UUID] = []
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _work(self) -> None:
        waiting = "SELECT count(*) FROM jobs WHERE state IN ('scheduled', 'queued')"
        while not self._stop.wait(0.05):
            if self._fleet.number(waiting) < ENOUGH:
                jobs = [Tally(seconds=0.2), UrgentTally(seconds=0.2)]
                self.ids += self._fleet.enqueue(jobs * 2)


@contextmanager
def load(fleet: Fleet, balancer: Balancer) -> Iterator[tuple[Traffic, Stream]]:
    traffic = Traffic(balancer, threads=2, rows=ROWS)
    stream = Stream(fleet)
    try:
        yield traffic, stream
    finally:
        stream.stop()
        traffic.stop()


def end(fleet: Fleet, name: str) -> None:
    stopped = fleet.stop(name, within=GRACE_SECONDS)
    assert (name, stopped.status) == (name, 0)
    assert "worker.drain_over" not in fleet.processes.log(name)


def wait_for_work(fleet: Fleet, balancer: Balancer, ports: list[int]) -> None:
    """Until jobs have ended that hadn't yet, and the web processes are known to be ready."""
    query = "SELECT count(*) FROM jobs WHERE state = 'succeeded'"
    before = fleet.number(query)
    wait_for(
        lambda: fleet.number(query) > before and all(balancer.knows_ready(port) for port in ports),
        what="a fleet at work",
    )


def test_a_rolling_restart_under_full_load_goes_unnoticed(fleet: Fleet) -> None:
    ports = free_ports(2)
    programs = programs_on(fleet, ports)
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(fleet.start, programs.values()))
    with closing(Balancer(ports, fleet.tenant.key)) as balancer:
        with load(fleet, balancer) as (traffic, stream):
            there = ports
            for kind in ("web", "dispatcher", "worker"):
                wait_for_work(fleet, balancer, there)
                end(fleet, f"{kind}-0")
                fleet.start(programs[f"{kind}-0"])
                wait_for_work(fleet, balancer, there)
                end(fleet, f"{kind}-1")
                there = ports[:1]
            wait_for_work(fleet, balancer, there)
        assert traffic.failed == []
        assert all(balancer.served[port] for port in ports)
    assert_nothing_happened(fleet, traffic, stream)


def assert_nothing_happened(fleet: Fleet, traffic: Traffic, stream: Stream) -> None:
    unfinished = """
        SELECT count(*) FROM jobs WHERE state <> 'succeeded'
    """
    wait_for(lambda: fleet.number(unfinished) == 0, seconds=60, what="the end of all jobs")
    fleet.assert_each_done_once(stream.ids)
    assert fleet.ran_twice() == 0
    done = "SELECT count(*) FROM imports WHERE status = 'succeeded' AND inserted = :rows"
    assert fleet.number(done, rows=ROWS) == len(traffic.imports) == count(fleet.engine, "imports")
    assert count(fleet.engine, "contacts") == ROWS * len(traffic.imports)
    with Queues(fleet.settings) as queues:
        wait_for(lambda: queues.depth("default") + queues.depth("high") == 0)
        assert queues.dead() == []
    assert assert_lawful(fleet.engine) > len(stream.ids)
