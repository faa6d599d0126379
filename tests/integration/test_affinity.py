"""Affinity, with the broker's own consistent-hash exchange: near where it can be, done in any case."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Engine

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
from tests.support.clock import Clock
from tests.support.customers import make_customer
from tests.support.housekeeping import task
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    backdate,
    claim_now,
    count,
    job_facts,
    letters,
)
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.shards import empty, give_back, remove, take_some
from tests.support.worker_jobs import Tally, Warm

KNOWN: Catalog = {**CATALOG, **catalog((Warm, Tally, Note))}
SHARDS = 4
LANES = {f"default.near.{number}" for number in range(SHARDS)}
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


class Shards:
    """The declared shards, and 12 tenants whose jobs are to meet in them."""

    def __init__(
        self, settings: Settings, engine: Engine, affinity: Affinity, queues: Queues
    ) -> None:
        self.affinity = prepare_shards(settings, affinity)
        self.tenants = [make_customer(engine).id for _ in range(12)]
        self._settings, self._engine, self._queues = settings, engine, queues

    @property
    def names(self) -> list[str]:
        return [shard.name for shard in self.affinity.queues]

    def reduce_to(self, number: int) -> None:
        """As a release with fewer of them does."""
        self.affinity = replace(self.affinity, shards=number)
        prepare_shards(self._settings, self.affinity)

    def dispatch_of_each(self, *, times: int = 1) -> dict[str, UUID]:
        """A job of each tenant is sent, or several; job -> tenant."""
        made = {
            str(add(self._engine, one, Warm())): one for one in self.tenants for _ in range(times)
        }
        assert self.dispatch() == len(made)
        return made

    def dispatch_one(self) -> UUID:
        """A job of the first tenant's."""
        job_id = add(self._engine, self.tenants[0], Warm())
        assert self.dispatch() == 1
        return job_id

    def dispatch(self) -> int:
        publisher = Publisher(self._settings)
        try:
            with self._engine.begin() as tx:
                return dispatch_batch(
                    tx, publisher, batch=500, catalog=KNOWN, affinity=self.affinity
                )
        finally:
            publisher.close()

    def where(self, owners: dict[str, UUID]) -> dict[UUID, set[str]]:
        """Tenant -> the shards that had messages of its jobs, which are taken off."""
        found: dict[UUID, set[str]] = {}
        for name in self.names:
            for job_id in empty(self._queues, name):
                found.setdefault(owners[job_id], set()).add(name)
        return found


@pytest.fixture
def shards(settings: Settings, engine: Engine, affinity: Affinity, queues: Queues) -> Shards:
    return Shards(settings, engine, affinity, queues)


def send(queues: Queues, lane: str, number: int) -> None:
    """Messages that belong to no job."""
    wanted = queues.depth(lane) + number
    for _ in range(number):
        queues.publish("", lane, task(NOBODY))
    wait_for(lambda: queues.depth(lane) == wanted)


class TestDispatch:
    def test_a_tenants_jobs_meet_in_one_shard_and_all_others_go_as_ever(
        self, shards: Shards, affinity: Affinity, engine: Engine, queues: Queues
    ) -> None:
        assert shards.affinity == affinity
        plain = add(engine, shards.tenants[0], Note())
        assert shards.dispatch() == 1
        found = shards.where(shards.dispatch_of_each(times=2))
        assert set(found) == {*shards.tenants}
        assert {len(names) for names in found.values()} == {1}
        assert len(set.union(*found.values())) > 1
        assert queues.job_ids("default") == [str(plain)]

    def test_a_shard_that_is_gone_or_refuses_keeps_no_job_back(
        self, shards: Shards, affinity: Affinity, engine: Engine, queues: Queues
    ) -> None:
        for shard in affinity.queues:
            queues.channel.queue_unbind(shard.name, shard.exchange, shard.routing_key)
        sent = shards.dispatch_of_each()
        assert sorted(queues.job_ids("default")) == sorted(sent)
        assert count(engine, "outbox") == 0

    def test_fewer_shards_leave_none_bound_that_nobody_serves(self, shards: Shards) -> None:
        shards.reduce_to(2)
        assert set(shards.where(shards.dispatch_of_each())) == {*shards.tenants}

    def test_without_the_plugin_jobs_go_as_ever(
        self, settings: Settings, affinity: Affinity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(affinity_module, "EXCHANGE_TYPE", "x-of-no-plugin")
        assert prepare_shards(settings, affinity).queues == []


class TestLookedAfter:
    """By the dispatcher's chores, and by who inspects the broker."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def collector(
        self, settings: Settings, engine: Engine, shards: Shards, clock: Clock
    ) -> Iterator[Collector]:
        made = Collector(settings, engine, KNOWN, {}, clock=clock)
        yield made
        made.close()

    @pytest.fixture
    def lost(self, engine: Engine, shards: Shards) -> tuple[UUID, str]:
        """A job whose message is gone for long enough; and a shard in which it wasn't."""
        job_id = shards.dispatch_one()
        (lane,) = shards.where({str(job_id): job_id})[job_id]
        backdate(engine, job_id, seconds=31)
        return job_id, next(name for name in shards.names if name != lane)

    def test_a_lost_message_is_sent_again_once_every_shard_has_been_empty(
        self,
        collector: Collector,
        clock: Clock,
        engine: Engine,
        lost: tuple[UUID, str],
        queues: Queues,
        shards: Shards,
    ) -> None:
        job_id, neighbour = lost
        send(queues, neighbour, 1)
        self.overtaken(engine, shards.tenants[1])
        collector.step()
        assert job_facts(engine, job_id).state == "queued"  # it might be the neighbour's
        take_some(queues, neighbour, 1)
        wait_for(lambda: queues.depth(neighbour) == 0, what="the mark to be gone as well")
        clock.forward(60)
        collector.step()
        assert job_facts(engine, job_id).state == "queued"  # a worker may be about to claim it
        clock.forward(30)
        collector.step()
        assert job_facts(engine, job_id).state == "scheduled"

    def test_a_shard_that_is_never_empty_keeps_no_lost_message_back(
        self,
        collector: Collector,
        clock: Clock,
        engine: Engine,
        lost: tuple[UUID, str],
        queues: Queues,
    ) -> None:
        job_id, busy = lost
        send(queues, busy, 3)
        collector.step()
        wait_for(lambda: queues.depth(busy) == 4, what="the mark")
        collector.step()  # which sends no second one
        send(queues, busy, 1)
        take_some(queues, busy, 1)
        wait_for(lambda: queues.depth(busy) == 4)
        collector.step()
        assert job_facts(engine, job_id).state == "queued"  # what is before the mark might be it
        take_some(queues, busy, 2)
        wait_for(lambda: queues.depth("dead") == 1, what="the mark at its end")
        collector.step()
        collector.step()
        clock.forward(30)
        collector.step()
        assert job_facts(engine, job_id).state == "scheduled"
        wait_for(lambda: queues.depth(busy) == 1)
        assert count(engine, "dead_letters") == 0

    def test_what_waits_in_a_shard_is_not_overtaken_by_what_goes_another_way(
        self, collector: Collector, clock: Clock, engine: Engine, shards: Shards
    ) -> None:
        waits = shards.dispatch_one()
        backdate(engine, waits, seconds=3600)
        self.overtaken(engine, shards.tenants[1])
        collector.step()
        clock.forward(30)
        collector.step()
        assert job_facts(engine, waits).state == "queued"

    def overtaken(self, engine: Engine, tenant_id: UUID) -> None:
        """A younger job of the pool's own queue runs already."""
        younger = add_queued(engine, tenant_id, Note())
        with engine.begin() as tx:
            assert claim_now(tx, younger) is not None

    def test_what_dies_in_a_shard_is_a_dead_letter_of_its_pool(
        self, collector: Collector, engine: Engine, shards: Shards, queues: Queues
    ) -> None:
        job_id = shards.dispatch_one()
        with engine.begin() as tx:
            assert claim_now(tx, job_id) is not None
        (lane,) = [name for name in shards.names if queues.depth(name)]
        give_back(queues, lane)
        collector.step()
        (letter,) = letters(engine, job_id)
        assert (letter.queue, letter.code) == ("default", "delivery_limit")

    @pytest.mark.usefixtures("shards")
    def test_the_figures_of_a_pool_are_those_of_its_shards_too(
        self, settings: Settings, engine: Engine, queues: Queues
    ) -> None:
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

        assert look() == dict.fromkeys(["default.near", *LANES], Trouble.MISSING)
        prepare_shards(settings, affinity)
        assert look() == {}
