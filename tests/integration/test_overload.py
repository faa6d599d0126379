"""A producer ten times faster than the workers: what waits stays within its bounds, and what was accepted is done.

Six seconds of it here, from the first refusal on; `OVERLOAD_SECONDS=1800` is half an hour.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.housekeeping import gauge
from app.jobs import CATALOG
from app.ledger.contract import catalog
from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_in_its_place, assert_lawful
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.web import Web, web_server
from tests.support.worker_jobs import Tally

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "6"))
JOB_SECONDS = 0.2
THREADS, PAUSE_SECONDS = 4, 0.02
LIMIT, WINDOW = 20, 10
GROWTH_MIB = 24
"""What a process may grow by between the first quarter and the end: pools of the allocator, and no queue of any kind."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Producer:
    """Posts from several threads, each with a key of its own, whatever it is told."""

    def __init__(self, web: Web, key: str) -> None:
        self._web, self._key = web, key
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._post) for _ in range(THREADS)]
        self.accepted: list[UUID] = []
        # Counted and not kept: the web process whose memory is looked at is this one.
        self.refused: Counter[tuple[int, str, bool]] = Counter()
        for thread in self._threads:
            thread.start()

    @property
    def posts(self) -> int:
        return len(self.accepted) + self.refused.total()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _post(self) -> None:
        job = {"kind": "test.tally", "payload": {"seconds": JOB_SECONDS}}
        with self._web.client(self._key) as client:
            while not self._stop.wait(PAUSE_SECONDS):
                answer = client.post(
                    "/v1/jobs", json=job, headers={"Idempotency-Key": str(uuid4())}
                )
                if answer.status_code == 202:
                    self.accepted.append(UUID(answer.json()["id"]))
                else:
                    later = float(answer.headers.get("retry-after", 0)) > 0
                    with self._lock:
                        self.refused[answer.status_code, answer.json()["type"], later] += 1


@dataclass(frozen=True, slots=True)
class Look:
    """How much there was at one moment: rows, messages, and bytes by process."""

    waiting: int
    with_the_broker: int
    in_flight: int
    remembered: int
    measured_at: float
    memory: dict[int, int]


def look(fleet: Fleet, queues: Queues, processes: list[int]) -> Look:
    return Look(
        waiting=fleet.number("SELECT count(*) FROM outbox"),
        with_the_broker=queues.depth("default"),
        in_flight=fleet.number("SELECT count(*) FROM in_flight"),
        remembered=fleet.number("SELECT count(*) FROM idempotency_keys"),
        measured_at=fleet.number("SELECT extract(epoch FROM max(measured_at)) FROM backlog"),
        memory={pid: resident(pid) for pid in processes},
    )


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


@pytest.fixture
def fleet(servers: Servers, tmp_path: Path) -> Iterator[Fleet]:
    bounds = {
        "backlog_tenant_max": LIMIT,
        "dispatch_window_min": 1,
        "dispatch_window_max": WINDOW,
    }
    with fleet_on(servers, tmp_path, **bounds) as made:
        made.start_dispatcher()
        made.start_worker(concurrency=1)
        yield made


def test_nothing_grows_without_bound_and_nothing_accepted_is_lost(fleet: Fleet) -> None:
    ours = [os.getpid(), fleet.pid("dispatcher"), fleet.pid("worker")]  # the web is in our process
    known = {**CATALOG, **catalog((Tally,))}
    seen = []
    with web_server(fleet.settings, catalog=known) as web, Queues(fleet.settings) as queues:
        producer = Producer(web, fleet.tenant.key)
        try:
            wait_for(lambda: producer.refused.total() > 0, seconds=60, what="the first refusal")
            began, before = time.monotonic(), producer.posts
            end = began + SECONDS
            while time.monotonic() < end:
                seen.append(look(fleet, queues, ours))
                time.sleep(0.25)
            per_second = (producer.posts - before) / (time.monotonic() - began)
        finally:
            producer.stop()
    fleet.stop_together("worker", "dispatcher")
    done = fleet.count("succeeded", producer.accepted)
    assert producer.posts >= 10 * done > 0
    assert set(producer.refused) == {(429, "urn:millrace:problem:backlog_full", True)}
    # What is accepted between two measurements is accepted.
    measured = [float(one.measured_at) for one in seen]
    longest = max([later - earlier for earlier, later in pairwise(measured)] + [2 * gauge.SECONDS])
    assert max(one.waiting for one in seen) <= LIMIT + 2 * per_second * longest
    assert max(one.with_the_broker for one in seen) <= WINDOW
    assert max(one.in_flight for one in seen) <= WINDOW + 2
    assert seen[-1].remembered <= len(producer.accepted)
    for pid, bytes_ in seen[-1].memory.items():
        early = max(one.memory[pid] for one in seen[: len(seen) // 4])
        assert bytes_ - early < GROWTH_MIB * 2**20, f"{ours.index(pid)} of web, dispatcher, worker"
    assert fleet.number("SELECT count(*) - count(DISTINCT job_id) FROM tallies") == 0
    assert fleet.number("SELECT count(*) FROM tallies") == done
    left = sum(fleet.count(state, producer.accepted) for state in ("scheduled", "queued"))
    assert done + left == len(producer.accepted)
    assert_in_its_place(fleet.engine)
    assert assert_lawful(fleet.engine) == len(producer.accepted)
