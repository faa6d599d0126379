"""One worker with one child for all files here, which found no queue when it started, and no dispatcher: what
it gets, tests send.
"""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, fleet_on
from tests.support.queues import WORK_QUEUES, Queues
from tests.support.servers import Servers


@pytest.fixture(scope="package")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_on(servers, tmp_path_factory.mktemp("one-worker")) as made:
        with Queues(made.settings) as queues:
            for queue in WORK_QUEUES:
                queues.channel.queue_delete(queue)
        made.start_worker(concurrency=1)
        yield made


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[Queues]:
    """Declares everything again, and fails where the worker did it differently."""
    with Queues(fleet.settings) as opened:
        yield opened
