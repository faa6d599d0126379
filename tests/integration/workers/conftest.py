"""What happens to a worker, on one system for all files here: a dispatcher, and a worker that tests start and stop."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, fleet_on
from tests.support.jobs import assert_lawful
from tests.support.servers import Servers

CHILDREN = 2
DRAIN_SECONDS = 3.0


@pytest.fixture(scope="package")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("workers")
    with fleet_on(servers, folder, worker_drain_seconds=DRAIN_SECONDS, log_json=True) as made:
        made.start_dispatcher()
        yield made
        assert assert_lawful(made.engine) > 0


@pytest.fixture
def worker(fleet: Fleet) -> str:
    """The name of a worker that is running, with two children."""
    name = "worker"
    if not fleet.runs(name):
        fleet.start_worker(name, concurrency=CHILDREN)
    return name
