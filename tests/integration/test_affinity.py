"""Affinity, with the broker's own consistent-hash exchange: near where it can be, done in any case."""

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.broker import affinity as affinity_module
from app.broker.affinity import Affinity
from app.broker.inspection import Inspection, Trouble
from app.broker.publisher import Publisher, prepare_shards
from app.dispatcher import dispatch_batch
from app.housekeeping.collector import Collector
from app.housekeeping.depths import Depths
from app.jobs import CATALOG
from app.ledger.affinity import affinity_of
from app.ledger.contract import Catalog, catalog
from app.metrics import declared
from app.settings import Settings
from tests.support.customers import Customer, make_customer
from tests.support.dispatching import dispatching
from tests.support.fleet import Fleet, fleet_on
from tests.support.housekeeping import task
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_lawful,
    backdate,
    claim_now,
    count,
    job_facts,
    letters,
)
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.shards import empty, give_back
from tests.support.worker_jobs import Tally, Warm

KNOWN: Catalog = {**CATALOG, **catalog((Warm, Tally, Note))}
SHARDS = 4
NOBODY = UUID(int=0)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_AFFINITY_SHARDS": str(SHARDS)}


@pytest.fixture
def affinity(settings: Settings, queues: Queues) -> Iterator[Affinity]:
    """Not declared yet, and gone at the end."""
    made = affinity_of(settings, KNOWN)
    remove(queues, made)
    yield made
    remove(queues, made)


def remove(queues: Queues, affinity: Affinity) -> None:
    for shard in affinity.queues:
        queues.channel.queue_delete(shard.name)
    for exchange in affinity.exchanges:
        queues.channel.exchange_delete(exchange)


@pytest.fixture
def tenants(engine: Engine) -> list[Customer]:
    return [make_customer(engine) for _ in range(12)]


def names(affinity: Affinity) -> list[str]:
    return [shard.name for shard in affinity.queues]


def dispatch(settings: Settings, engine: Engine, affinity: Affinity) -> int:
    publisher = Publisher(settings)
    try:
        with engine.begin() as tx:
            return dispatch_batch(tx, publisher, batch=500, catalog=KNOWN, affinity=affinity)
    finally:
        publisher.close()


def where(queues: Queues, owners: dict[str, UUID], lanes: Sequence[str]) -> dict[UUID, set[str]]:
    """Tenant -> the queues that had messages of its jobs, which are taken off."""
    found: dict[UUID, set[str]] = {}
    for lane in lanes:
        for job_id in empty(queues, lane):
            found.setdefault(owners[job_id], set()).add(lane)
    return found


class TestDispatch:
    def test_a_tenants_jobs_meet_in_one_shard_and_all_others_go_as_ever(
        self,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        queues: Queues,
        tenants: list[Customer],
    ) -> None:
        assert prepare_shards(settings, affinity) == affinity
        plain = add(engine, tenants[0].id, Note())
        owners = {str(add(engine, one.id, Warm())): one.id for one in tenants for _ in range(2)}
        assert dispatch(settings, engine, affinity) == 25
        found = where(queues, owners, names(affinity))
        assert set(found) == {one.id for one in tenants}
        assert {len(lanes) for lanes in found.values()} == {1}
        assert len(set.union(*found.values())) > 1
        assert queues.job_ids("default") == [str(plain)]

    def test_a_shard_that_is_gone_or_refuses_keeps_no_job_back(
        self,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        queues: Queues,
        tenants: list[Customer],
    ) -> None:
        prepare_shards(settings, affinity)
        for shard in affinity.queues:
            queues.channel.queue_unbind(shard.name, shard.exchange, shard.routing_key)
        sent = [str(add(engine, one.id, Warm())) for one in tenants]
        assert dispatch(settings, engine, affinity) == 12
        assert sorted(queues.job_ids("default")) == sorted(sent)
        assert count(engine, "outbox") == 0

    def test_fewer_shards_leave_none_bound_that_nobody_serves(
        self,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        queues: Queues,
        tenants: list[Customer],
    ) -> None:
        prepare_shards(settings, affinity)
        fewer = replace(affinity, shards=2)
        prepare_shards(settings, fewer)
        owners = {str(add(engine, one.id, Warm())): one.id for one in tenants}
        dispatch(settings, engine, fewer)
        assert set(where(queues, owners, names(fewer))) == {one.id for one in tenants}

    def test_without_the_plugin_jobs_go_as_ever(
        self, settings: Settings, affinity: Affinity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(affinity_module, "EXCHANGE_TYPE", "x-of-no-plugin")
        assert prepare_shards(settings, affinity).queues == []


class TestLookedAfter:
    """By the dispatcher's chores, and by who inspects the broker."""

    @pytest.fixture
    def collector(
        self, settings: Settings, engine: Engine, affinity: Affinity
    ) -> Iterator[Collector]:
        prepare_shards(settings, affinity)
        made = Collector(settings, engine, KNOWN, {})
        yield made
        made.close()

    def test_a_lost_message_is_sent_again_once_every_shard_has_been_empty(
        self,
        collector: Collector,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        queues: Queues,
        tenants: list[Customer],
    ) -> None:
        first = add(engine, tenants[0].id, Warm())
        dispatch(settings, engine, affinity)
        (lane,) = where(queues, {str(first): first}, names(affinity))[first]  # and it is lost
        neighbour = next(name for name in names(affinity) if name != lane)
        queues.publish("", neighbour, task(NOBODY))
        wait_for(lambda: queues.depth(neighbour) == 1)
        backdate(engine, first, seconds=31)
        self.overtaken(engine, tenants[1])
        collector.step()
        assert job_facts(engine, first).state == "queued"  # it might be the neighbour's
        empty(queues, neighbour)
        collector.step()
        assert job_facts(engine, first).state == "scheduled"

    def test_what_waits_in_a_shard_is_not_overtaken_by_what_goes_another_way(
        self,
        collector: Collector,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        tenants: list[Customer],
    ) -> None:
        waits = add(engine, tenants[0].id, Warm())
        dispatch(settings, engine, affinity)
        backdate(engine, waits, seconds=3600)
        self.overtaken(engine, tenants[1])
        collector.step()
        assert job_facts(engine, waits).state == "queued"

    def overtaken(self, engine: Engine, tenant: Customer) -> None:
        """A younger job of the pool's own queue runs already."""
        younger = add_queued(engine, tenant.id, Note())
        with engine.begin() as tx:
            assert claim_now(tx, younger) is not None

    def test_what_dies_in_a_shard_is_a_dead_letter_of_its_pool(
        self,
        collector: Collector,
        settings: Settings,
        engine: Engine,
        affinity: Affinity,
        queues: Queues,
        tenant: Customer,
    ) -> None:
        job_id = add(engine, tenant.id, Warm())
        dispatch(settings, engine, affinity)
        with engine.begin() as tx:
            assert claim_now(tx, job_id) is not None
        (lane,) = [name for name in names(affinity) if queues.depth(name)]
        give_back(queues, lane)
        collector.step()
        (letter,) = letters(engine, job_id)
        assert (letter.queue, letter.code) == ("default", "delivery_limit")

    def test_the_figures_of_a_pool_are_those_of_its_shards_too(
        self, collector: Collector, settings: Settings, engine: Engine, queues: Queues
    ) -> None:
        assert collector is not None
        for lane in ("default", "default.near.1", "default.near.3"):
            queues.publish("", lane, task(NOBODY))
        wait_for(lambda: queues.depth("default.near.3") == 1)
        depths = Depths(settings, engine, KNOWN)
        shown = {family.name: family for family in depths.collect()}
        depths.close()
        ready = {
            sample.labels["queue"]: sample.value
            for sample in shown[declared.QUEUE_READY.name].samples
        }
        assert ready == {"high": 0, "default": 3, "low": 0, "dead": 0}

    def test_an_inspection_names_what_is_missing(
        self, settings: Settings, affinity: Affinity
    ) -> None:
        def look() -> dict[str, Trouble]:
            inspection = Inspection(settings)
            try:
                return {each.name: each.trouble for each in inspection.differences(affinity)}
            finally:
                inspection.close()

        assert look() == dict.fromkeys(["default.near", *names(affinity)], Trouble.MISSING)
        prepare_shards(settings, affinity)
        assert look() == {}


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
    assert_lawful(pool.fleet.engine)
