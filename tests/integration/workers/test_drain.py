"""A worker that is told to stop finishes what it runs, or hands it back when its time is up."""

import pytest

from tests.integration.workers.conftest import CHILDREN, DRAIN_SECONDS
from tests.support.fleet import Fleet
from tests.support.jobs import events
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import Hold, Tally

pytestmark = pytest.mark.long

OVERHEAD_SECONDS = 8.0
"""What stopping takes beyond the jobs: about a second, more on a machine that is busy."""


@pytest.mark.usefixtures("worker")
def test_under_full_load_short_jobs_end_or_wait_and_none_runs_twice(fleet: Fleet) -> None:
    """Stopped in the middle of hundreds: the last acknowledgements count, too."""
    before = fleet.ran_twice()
    ids = fleet.enqueue([Tally() for _ in range(300)])
    wait_for(lambda: fleet.count("succeeded", ids) > 50)

    stopped = fleet.stop("worker")

    assert stopped.status == 0
    assert stopped.seconds < DRAIN_SECONDS + OVERHEAD_SECONDS
    assert "worker.drain_over" not in fleet.processes.log("worker")
    assert fleet.count("running", ids) == 0
    assert fleet.count("succeeded", ids) < len(ids), "the load ended before the stop"
    fleet.start_worker(concurrency=CHILDREN)
    fleet.wait_until("succeeded", ids, seconds=60)
    fleet.assert_each_done_once(ids)
    assert fleet.ran_twice() == before
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0


@pytest.mark.usefixtures("worker")
def test_one_that_ends_in_time_is_not_disturbed_and_one_that_does_not_is_done_by_the_next(
    fleet: Fleet,
) -> None:
    gate = fleet.folder / "drain-gate"
    short, long = fleet.enqueue([Tally(seconds=1.0), Hold(gate=str(gate))])
    fleet.wait_until("running", [short, long])

    stopped = fleet.stop("worker")

    assert stopped.status == 0
    assert DRAIN_SECONDS <= stopped.seconds < DRAIN_SECONDS + OVERHEAD_SECONDS
    assert fleet.processes.log("worker").count("worker.drain_over") == 1
    assert events(fleet.engine, short)[2:] == ["claim", "succeed"]
    assert fleet.count("running", [long]) == 1
    gate.touch()
    fleet.start_worker(concurrency=CHILDREN)
    fleet.wait_until("succeeded", [short, long])
    fleet.assert_each_done_once([short, long])
    assert events(fleet.engine, long)[2:] == ["claim", "take_over", "succeed"]
