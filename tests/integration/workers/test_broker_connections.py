"""A worker whose broker closes its connection: it comes back, at full strength, and nothing is lost."""

from uuid import UUID

import pytest

from tests.integration.workers.conftest import CHILDREN
from tests.support.fleet import Fleet
from tests.support.jobs import events
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Tally

pytestmark = pytest.mark.long


@pytest.mark.usefixtures("worker")
def test_after_lost_connections_under_load_it_takes_as_much_as_before(
    fleet: Fleet, servers: Servers
) -> None:
    """All of its children are in the middle of a job, both times."""
    ids = fleet.enqueue([Tally(seconds=0.1) for _ in range(100)])
    for times in (1, 2):
        wait_for(lambda least=times * 15: fleet.count("succeeded", ids) > least)  # type: ignore[misc]
        servers.rabbitmqctl("close_all_connections", "--vhost", "millrace", "for a test")
    fleet.wait_until("succeeded", ids)
    fleet.assert_each_done_once(ids)

    gate = fleet.folder / "connections-gate"
    held = fleet.enqueue([Hold(gate=str(gate)) for _ in range(CHILDREN + 1)])
    wait_for(lambda: fleet.count("running", held) == CHILDREN, what="full strength")
    gate.touch()
    fleet.wait_until("succeeded", held)
    with Queues(fleet.settings) as queues:
        assert queues.depth("default") == 0


@pytest.mark.usefixtures("worker")
def test_what_runs_while_the_broker_is_away_goes_on_and_is_not_begun_anew(
    fleet: Fleet, servers: Servers
) -> None:
    """Its message comes again, to whichever worker is back first, and there is nothing to do."""
    gate = fleet.folder / "broker-gate"
    held = fleet.enqueue([Hold(gate=str(gate)) for _ in range(CHILDREN)])
    fleet.wait_until("running", held)
    fleet.start_worker("another", concurrency=CHILDREN)
    try:
        servers.restart("rabbitmq")
        with Queues(fleet.settings) as queues:
            wait_for(
                lambda: queues.consumers("default") == 2 and queues.depth("default") == 0,
                seconds=40,
                what="their messages, at a worker",
            )
        gate.touch()
        fleet.wait_until("succeeded", held)
        wait_for(
            lambda: all(_was_idle(fleet, job) for job in held), what="the end of their messages"
        )
    finally:
        fleet.stop("another")
    fleet.assert_each_done_once(held)
    for job in held:
        assert events(fleet.engine, job)[2:] == ["claim", "succeed"]


def _was_idle(fleet: Fleet, job: UUID) -> bool:
    """Whether a worker found nothing to do for the job."""
    logs = "".join(fleet.processes.log(name) for name in ("worker", "another"))
    return any("job.nothing_to_claim" in line and str(job) in line for line in logs.splitlines())
