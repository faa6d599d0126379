"""A dispatcher that is told to stop finishes its batch: outbox, ledger and queue agree."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful, count
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Tally

JOBS = 400
BATCH = 10
QUEUED = "SELECT count(*) FROM jobs WHERE state = 'queued'"
DISPATCHERS = ("dispatcher-1", "dispatcher-2")
GRACE_SECONDS = 10.0


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("dispatcher")
    with fleet_on(servers, folder, dispatch_batch_size=BATCH) as made:
        yield made


def ids_in(fleet: Fleet, query: str) -> set[UUID]:
    with fleet.engine.connect() as tx:
        return set(tx.execute(text(query)).scalars())


def test_stopped_under_load_it_leaves_no_row_half_published(fleet: Fleet) -> None:
    """Two at work are stopped in the middle; then a third finishes."""
    with Queues(fleet.settings) as queues:
        for name in DISPATCHERS:
            fleet.start_dispatcher(name)
        ids = fleet.enqueue([Tally() for _ in range(JOBS)])
        wait_for(lambda: fleet.number(QUEUED) > BATCH)

        for stopped in fleet.stop_together(*DISPATCHERS):
            assert stopped.status == 0
            assert stopped.seconds < GRACE_SECONDS

        published = queues.job_ids("default")
        assert len(published) < len(ids), "the load ended before the stop"
        assert_in_agreement(fleet, published)
        fleet.start_dispatcher(dispatch_batch_size=500)
        fleet.wait_until("queued", ids)
        published += queues.job_ids("default")
    assert sorted(published) == sorted(str(one) for one in ids)
    assert count(fleet.engine, "outbox") == 0
    assert assert_lawful(fleet.engine) == len(ids)


def assert_in_agreement(fleet: Fleet, published: list[str]) -> None:
    """A job is published once and queued, or it is scheduled and in the outbox."""
    assert len(published) == len(set(published))
    queued = ids_in(fleet, "SELECT id FROM jobs WHERE state = 'queued'")
    assert {UUID(one) for one in published} == queued
    scheduled = ids_in(fleet, "SELECT id FROM jobs WHERE state = 'scheduled'")
    assert ids_in(fleet, "SELECT job_id FROM outbox") == scheduled
