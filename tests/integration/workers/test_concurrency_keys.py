"""Keys on a worker at work: one at a time, and a death frees the key."""

import pytest

from app.ledger.enqueue import NewJob, enqueue_many
from tests.support.fleet import Fleet
from tests.support.worker_jobs import Killer, Tally

pytestmark = pytest.mark.long

_OVERLAPS = """
    WITH spell AS (
        SELECT job_id, min(at) FILTER (WHERE event = 'claim') AS began, max(at) AS ended
        FROM job_history WHERE job_id = ANY(:ids) GROUP BY job_id
    )
    SELECT count(*) FROM spell a JOIN spell b
    ON a.job_id < b.job_id AND a.began < b.ended AND b.began < a.ended
"""


@pytest.mark.usefixtures("worker")
def test_a_worker_does_one_at_a_time_and_a_death_frees_the_key(fleet: Fleet) -> None:
    with fleet.engine.begin() as tx:
        jobs = [Killer(), *(Tally(seconds=0.1) for _ in range(8))]
        new = [NewJob(job=job, concurrency_key="one") for job in jobs]
        killer, *keyed = [one.id for one in enqueue_many(tx, fleet.tenant.id, new)]
    free = fleet.enqueue([Tally(seconds=0.1) for _ in range(12)])
    fleet.wait_until("succeeded", [*keyed, *free], seconds=60)
    fleet.wait_until("dead", [killer], seconds=30)
    assert fleet.number(_OVERLAPS, ids=keyed) == 0
    assert fleet.number(_OVERLAPS, ids=free) > 0
    fleet.assert_each_done_once([*keyed, *free])
