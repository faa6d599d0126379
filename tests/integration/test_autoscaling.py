"""`celery worker --autoscale` with the ledger's lag: a flood makes the pool grow, an empty queue makes it shrink."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.ledger.backlog import measure_backlog
from app.ledger.pressure import read_pressure
from tests.support.customers import Customer
from tests.support.fleet import fleet_on
from tests.support.jobs import Note, add, assert_lawful, events
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Tally

MOST = 4
SETTINGS = {
    "processes": f"default=1x{MOST}",
    "scaling_poll_seconds": 0.3,
    "scaling_drain_seconds": 2,
    "scaling_down_seconds": 3,
}


@pytest.mark.long
def test_it_grows_with_a_flood_and_shrinks_around_a_job_that_runs(
    servers: Servers, tmp_path: Path
) -> None:
    gate, look = tmp_path / "gate", tmp_path / "look"
    with fleet_on(servers, tmp_path, **SETTINGS) as fleet:
        program = fleet.product().worker("worker", "default", 1)
        fleet.start_dispatcher()
        fleet.start(replace(program, command=[*program.command, f"--autoscale={MOST},1"]))

        def scaled_to(size: int) -> bool:
            lines = fleet.processes.log("worker").splitlines()
            said = [line for line in lines if "worker.scaled" in line]
            return bool(said) and any(
                word in said[-1] for word in (f"now={size} ", f'"now": {size},')
            )

        def messages_at_once() -> list[str]:
            words = ("--vhost", "millrace", "queue_name", "prefetch_count")
            listed = servers.rabbitmqctl("list_consumers", *words).splitlines()
            return [line.split()[1] for line in listed if line.split()[:1] == ["default"]]

        held = fleet.enqueue([Hold(gate=str(gate))])
        flood = fleet.enqueue([Tally(seconds=0.05) for _ in range(250)])
        wait_for(lambda: scaled_to(MOST), seconds=30, what="a full pool")
        # The flood may be over before the broker has been asked: these keep the pool as it is.
        full = fleet.enqueue([Hold(gate=str(look)) for _ in range(MOST - 1)])
        wait_for(lambda: messages_at_once() == [str(MOST)], what="as many messages")
        look.touch()
        fleet.wait_until("succeeded", [*flood, *full], seconds=60)
        assert len(fleet.pids(flood)) > 1
        wait_for(lambda: scaled_to(1), seconds=60, what="a pool of one")
        wait_for(lambda: messages_at_once() == ["1"], what="one message")
        assert fleet.count("running", held) == 1
        # Grown and shrunk again, between two loads: what was let go isn't needed.
        more = fleet.enqueue([Tally() for _ in range(100)])
        gate.touch()
        fleet.wait_until("succeeded", [*held, *more], seconds=60)
        assert fleet.stop("worker").status == 0

        fleet.assert_each_done_once([*held, *flood, *full, *more])
        assert events(fleet.engine, held[0])[2:] == ["claim", "succeed"]
        assert fleet.ran_twice() == 0
        assert "Traceback" not in fleet.processes.log("worker")
        with Queues(fleet.settings) as queues:
            assert queues.depth("default") == 0
        assert assert_lawful(fleet.engine) == len([*held, *flood, *full, *more])


def test_pressure_is_what_waits_for_the_pool(engine: Engine, tenant: Customer) -> None:
    for _ in range(5):
        add(engine, tenant.id, Note())
    with engine.begin() as tx:
        measure_backlog(tx, ["high", "default", "low"], seconds=0)
    with engine.connect() as tx:
        default = read_pressure(tx, ["default"], seconds=60)
        high = read_pressure(tx, ["high"], seconds=60)
    assert (default.backlog, default.mean_seconds, default.pools) == (5, 0, 1)
    assert default.oldest_seconds > 0
    assert (high.backlog, high.oldest_seconds) == (0, 0)
