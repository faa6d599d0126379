"""A worker whose broker closes its connection: it comes back, at full strength, and nothing is lost."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Tally

pytestmark = pytest.mark.long

CONCURRENCY = 3


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_on(servers, tmp_path_factory.mktemp("connections")) as made:
        made.start_dispatcher()
        made.start_worker(concurrency=CONCURRENCY)
        yield made


def test_after_lost_connections_under_load_it_takes_as_much_as_before(
    fleet: Fleet, servers: Servers
) -> None:
    """All of its children are in the middle of a job, both times."""
    ids = fleet.enqueue([Tally(seconds=0.1) for _ in range(120)])
    for times in (1, 2):
        wait_for(lambda least=times * 15: fleet.count("succeeded", ids) > least)  # type: ignore[misc]
        servers.rabbitmqctl("close_all_connections", "--vhost", "millrace", "for a test")
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)

    gate = fleet.folder / "gate"
    held = fleet.enqueue([Hold(gate=str(gate)) for _ in range(CONCURRENCY + 1)])
    wait_for(lambda: fleet.count("running", held) == CONCURRENCY, what="full strength")
    gate.touch()
    fleet.wait_until("succeeded", held)
    assert fleet.stop("worker").status == 0
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0
    assert assert_lawful(fleet.engine) == len(ids) + len(held)
