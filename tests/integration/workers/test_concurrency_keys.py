"""Keys on a worker at work: one at a time, and a death frees the key."""

import pytest

from app.ledger.enqueue import NewJob, enqueue_many
from tests.support.fleet import Fleet
from tests.support.worker_jobs import Killer, Tally

pytestmark = pytest.mark.long


@pytest.mark.usefixtures("worker")
def test_a_worker_does_one_at_a_time_and_a_death_frees_the_key(fleet: Fleet) -> None:
    with fleet.engine.begin() as tx:
        jobs = [Killer(), *(Tally(seconds=0.1) for _ in range(8))]
        new = [NewJob(job=job, concurrency_key="one") for job in jobs]
        killer, *keyed = [one.id for one in enqueue_many(tx, fleet.tenant.id, new)]
    free = fleet.enqueue([Tally(seconds=0.1) for _ in range(12)])
    fleet.wait_until("succeeded", [*keyed, *free], seconds=60)
    fleet.wait_until("dead", [killer], seconds=30)
    assert fleet.overlaps(keyed) == 0
    assert fleet.overlaps(free) > 0
    fleet.assert_each_done_once([*keyed, *free])
