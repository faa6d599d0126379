"""A run by the clock: one at a time, for the tenant's own connections alone."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.ids import new_id
from app.jobs import SyncRun
from app.outbound.breaker import Breaker, BreakerPolicy
from app.retention import KEPT
from app.settings import Settings
from tests.support.crm import Crm, crm_server
from tests.support.customers import Customer
from tests.support.jobs import add_queued, count, job_facts
from tests.support.runtime import Worker
from tests.support.syncing import NETWORKS, Sync, connect


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS}


@pytest.fixture
def sync(engine: Engine, worker: Worker, settings: Settings, tenant: Customer, crm: Crm) -> Sync:
    return connect(engine, worker, settings, tenant.id, crm)


@pytest.fixture
def crm() -> Iterator[Crm]:
    with crm_server() as served:
        yield served


def test_it_begins_a_run_unless_one_is_at_work(sync: Sync, engine: Engine) -> None:
    for _ in range(2):
        job_id = add_queued(engine, sync.tenant_id, SyncRun(connection_id=sync.connection_id))
        sync.worker.deliver(job_id)
        assert job_facts(engine, job_id).state == "succeeded"
    assert count(engine, "sync_runs") == 1
    while sync.step():
        pass
    assert sync.run().state == "succeeded"
    assert count(engine, "sync_runs") == 2


def test_it_leaves_alone_what_is_paused_unknown_or_anothers(
    sync: Sync, engine: Engine, stranger: Customer
) -> None:
    sync.change(paused=True)
    for tenant_id, connection_id in (
        (sync.tenant_id, sync.connection_id),
        (sync.tenant_id, new_id()),
        (stranger.id, sync.connection_id),
    ):
        job_id = add_queued(engine, tenant_id, SyncRun(connection_id=connection_id))
        sync.worker.deliver(job_id)
        assert job_facts(engine, job_id).state == "cancelled"
    assert count(engine, "sync_runs") == 0


def test_what_has_ended_long_ago_is_forgotten(sync: Sync, engine: Engine) -> None:
    sync.run()
    sync.run()
    breaker = Breaker(engine, sync.tenant_id, "crm", BreakerPolicy(threshold=1))
    breaker.failed(breaker.admit(), "down")
    steps = [one.step for one in KEPT if one.what in {"sync_runs", "circuit_changes"}]
    assert len(steps) == 2
    with engine.begin() as tx:
        assert [step(tx, None, days=30, batch=10).removed for step in steps] == [0, 0]
        query = "UPDATE sync_runs SET finished_at = now() - interval '31 days' WHERE id = :id"
        oldest = tx.execute(text("SELECT id FROM sync_runs ORDER BY id LIMIT 1")).scalar_one()
        tx.execute(text(query), {"id": oldest})
        tx.execute(text("UPDATE circuit_changes SET at = now() - interval '31 days'"))
        assert [step(tx, None, days=30, batch=10).removed for step in steps] == [1, 1]


def test_only_public_kinds_can_be_scheduled_and_this_is_one() -> None:
    assert SyncRun.spec.public
