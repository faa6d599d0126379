"""A worker that is told to stop finishes what it runs, or hands it back when its time is up."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful, events
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Tally

pytestmark = pytest.mark.long

DRAIN_SECONDS = 3.0
OVERHEAD_SECONDS = 8.0
"""What stopping takes beyond the jobs: about a second, more on a machine that is busy."""
CONCURRENCY = 2


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("drain")
    with fleet_on(servers, folder, worker_drain_seconds=DRAIN_SECONDS) as made:
        made.start_dispatcher()
        yield made


def at_work(fleet: Fleet) -> None:
    """A worker, if there is none."""
    if not fleet.runs("worker"):
        fleet.start_worker(concurrency=CONCURRENCY)


def test_under_full_load_short_jobs_end_or_wait_and_none_runs_twice(fleet: Fleet) -> None:
    """Stopped in the middle of hundreds, twice: the last acknowledgements count, too."""
    ids = fleet.enqueue([Tally() for _ in range(400)])
    done = 0
    for _ in range(2):
        fleet.start_worker(concurrency=CONCURRENCY)
        wait_for(lambda already=done: fleet.count("succeeded", ids) > already + 50)  # type: ignore[misc]

        stopped = fleet.stop("worker")

        assert stopped.status == 0
        assert stopped.seconds < DRAIN_SECONDS + OVERHEAD_SECONDS
        assert "worker.drain_over" not in fleet.processes.log("worker")
        assert fleet.count("running", ids) == 0
        done = fleet.count("succeeded", ids)
        assert done < len(ids), "the load ended before the stop"
    fleet.start_worker(concurrency=CONCURRENCY)
    fleet.wait_until("succeeded", ids, seconds=60)
    fleet.assert_each_done_once(ids)
    assert fleet.ran_twice() == 0
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0
    assert assert_lawful(fleet.engine) == len(ids)


def test_a_job_that_ends_within_the_time_is_not_disturbed(fleet: Fleet) -> None:
    ids = fleet.enqueue([Tally(seconds=1.0)])
    at_work(fleet)
    fleet.wait_until("running", ids)
    assert fleet.stop("worker").status == 0
    assert events(fleet.engine, ids[0])[2:] == ["claim", "succeed"]


def test_a_job_that_does_not_end_in_time_is_handed_back_and_done_by_the_next(fleet: Fleet) -> None:
    gate = fleet.folder / "gate"
    ids = fleet.enqueue([Hold(gate=str(gate)) for _ in range(CONCURRENCY)])
    at_work(fleet)
    fleet.wait_until("running", ids)

    stopped = fleet.stop("worker")

    assert stopped.status == 0
    assert DRAIN_SECONDS <= stopped.seconds < DRAIN_SECONDS + OVERHEAD_SECONDS
    assert fleet.processes.log("worker").count("worker.drain_over") == CONCURRENCY
    assert fleet.count("running", ids) == CONCURRENCY
    gate.touch()
    fleet.start_worker(concurrency=CONCURRENCY)
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)
    for job_id in ids:
        assert events(fleet.engine, job_id)[2:] == ["claim", "take_over", "succeed"]
