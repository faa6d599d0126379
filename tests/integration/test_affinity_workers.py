"""Affinity in a pool of workers: they come and go, and a tenant's jobs stay with one of them."""

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app.broker.affinity import mark_of
from app.broker.dead_letters import DeadLetterQueue
from app.jobs import CATALOG
from app.ledger.affinity import affinity_of
from app.ledger.contract import Catalog, catalog
from tests.support.customers import make_customer
from tests.support.dispatching import dispatching
from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import add, assert_lawful
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.shards import remove
from tests.support.worker_jobs import Warm

KNOWN: Catalog = {**CATALOG, **catalog((Warm,))}
SHARDS = 4


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """As the broker lists it."""

    queue: str
    channel: str
    active: bool
    prefetch: int


class Pool:
    """Workers of one pool with shards, a dispatcher, and tenants."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.tenants = [make_customer(fleet.engine) for _ in range(16)]
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        self.workers[name] = self.fleet.start_worker(name, concurrency=3)

    def shards(self, name: str) -> list[str]:
        """What the worker last said that it serves."""
        plans = re.findall(r"\{.*worker\.shards.*\}", self.fleet.processes.log(name))
        return json.loads(plans[-1])["mine"] if plans else []

    def consumers(self) -> list[Consumer]:
        words = ("--vhost", "millrace", "--formatter", "json")
        columns = ("queue_name", "channel_pid", "active", "prefetch_count")
        listed = self.fleet.servers.rabbitmqctl("list_consumers", *words, *columns)
        rows = [[row[column] for column in columns] for row in json.loads(listed)]
        return [Consumer(*row) for row in rows if row[0] in {"default", *LANES}]

    def cut_off(self) -> None:
        """End the workers' connections that they take messages by."""
        ask, words = self.fleet.servers.rabbitmqctl, ("--vhost", "millrace", "--no-table-headers")
        lines = ask("list_consumers", *words, "queue_name", "channel_pid").splitlines()
        taking = {line.split()[1] for line in lines if line.split()[0] in LANES}
        lines = ask("list_channels", *words, "pid", "connection").splitlines()
        for connection in {line.split()[1] for line in lines if line.split()[0] in taking}:
            ask("close_connection", connection, "for a test")

    def settled(self, *names: str) -> bool:
        """They agree on who serves what, and the broker has it so."""
        plans = [set(self.shards(name)) for name in names]
        if set.union(*plans) != LANES or sum(map(len, plans)) != SHARDS:
            return False
        served = Counter(
            one.channel for one in self.consumers() if one.active and one.queue in LANES
        )
        return sorted(served.values()) == sorted(map(len, plans))

    def enqueue(self, seconds: float) -> list[UUID]:
        return [
            add(self.fleet.engine, one.id, Warm(seconds=seconds))
            for one in self.tenants
            for _ in range(2)
        ]

    def forget(self, name: str) -> None:
        """As if it had been gone for a minute."""
        late = "UPDATE processes SET seen_at = seen_at - interval '1 minute' WHERE name LIKE :name"
        with self.fleet.engine.begin() as tx:
            tx.execute(text(late), {"name": f"{name}@%"})

    def served(self) -> dict[UUID, set[str]]:
        """Tenant -> the workers that did a round of its jobs."""
        ids = self.enqueue(0.0)
        self.fleet.wait_until("succeeded", ids)
        by: dict[UUID, set[str]] = {}
        with self.fleet.engine.connect() as tx:
            rows = tx.execute(_WHO, {"ids": ids})
            for tenant_id, worker in rows:
                by.setdefault(tenant_id, set()).add(worker.split("@")[0])
        return by


_WHO = text("SELECT tenant_id, worker FROM jobs WHERE id = ANY(:ids)")
LANES = {f"default.near.{number}" for number in range(SHARDS)}


@pytest.fixture
def pool(servers: Servers, queues: Queues, tmp_path: Path) -> Iterator[Pool]:
    with fleet_on(servers, tmp_path, affinity_shards=SHARDS, log_json=True) as fleet:
        wanted = affinity_of(fleet.settings, KNOWN)
        remove(queues, wanted)
        with dispatching(fleet.settings, fleet.engine, known=KNOWN):
            yield Pool(fleet)
    remove(queues, wanted)


def send_marks(pool: Pool, queues: Queues) -> None:
    """Through shards that a worker waits at: whether it gets them or the broker lets them go, they are back at once."""
    seen: set[str] = set()

    def all_are_back() -> bool:
        """Some the dispatcher's collector takes sooner; those are sent again."""
        for lane in LANES - seen:
            dead_letters.mark(lane, datetime.now(tz=UTC))
        marks = [mark_of(message.properties["application_headers"]) for message in queues.dead()]
        seen.update(mark[0] for mark in marks if mark)
        return seen == LANES

    with closing(DeadLetterQueue(pool.fleet.settings)) as dead_letters:
        wait_for(all_are_back, what="the marks")
    assert "unknown message" not in pool.fleet.processes.log("worker-c")


@pytest.mark.long
def test_workers_come_and_go_and_a_tenant_stays_with_one_of_them(
    pool: Pool, queues: Queues
) -> None:
    pool.start("worker-a")
    pool.start("worker-b")
    wait_for(lambda: pool.settled("worker-a", "worker-b"), seconds=40, what="an agreement")
    before = pool.served()
    assert set.union(*before.values()) == {"a", "b"}
    assert {len(workers) for workers in before.values()} == {1}
    assert [pool.served() for _ in range(3)] == [before] * 3

    # Of three children two are for shards; each worker stands in line at all of them.
    found = Counter((one.queue, one.prefetch) for one in pool.consumers())
    assert found == {(lane, 1): 2 for lane in ("default", *LANES)}

    # After a lost line, too.
    lost = {one.channel for one in pool.consumers()}
    pool.cut_off()
    wait_for(
        lambda: (
            not lost & {one.channel for one in pool.consumers()}
            and Counter((one.queue, one.prefetch) for one in pool.consumers()) == found
        ),
        seconds=20,
        what="as many messages as before",
    )

    ids = pool.enqueue(0.3)
    wait_for(lambda: pool.fleet.count("running", ids) >= 3, what="jobs in hand")
    pool.workers["worker-b"].send_signal(signal.SIGKILL)
    pool.fleet.wait_until("succeeded", ids, seconds=20)
    pool.fleet.assert_each_done_once(ids)

    pool.forget("b")
    pool.start("worker-c")
    ids = pool.enqueue(0.1)
    pool.fleet.wait_until("succeeded", ids, seconds=20)
    wait_for(lambda: pool.settled("worker-a", "worker-c"), seconds=40, what="another agreement")
    after = pool.served()
    assert set.union(*after.values()) == {"a", "c"}
    assert {len(workers) for workers in after.values()} == {1}
    pool.fleet.stop("worker-a")
    assert set.union(*pool.served().values()) == {"c"}
    assert queues.dead() == []
    send_marks(pool, queues)
    assert_lawful(pool.fleet.engine)
