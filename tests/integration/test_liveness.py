"""A process that waits for its servers is alive: no probe may restart it for their absence."""

from pathlib import Path

from infra.local.product import Product
from infra.local.program import Program
from tests.support.processes import Processes
from tests.support.servers import Servers, wait_for

NOWHERE = "amqp://nobody:nothing@127.0.0.1:1/none"


def assert_they_beat(processes: Processes, *programs: Program) -> None:
    """The heartbeat of each goes on, again and again."""
    started = [processes.start(program) for program in programs]
    files = [Path(program.environment["MILLRACE_HEARTBEAT_FILE"]) for program in programs]
    seen = [{file.stat().st_mtime_ns} for file in files]

    def beaten() -> bool:
        for file, times in zip(files, seen, strict=True):
            times.add(file.stat().st_mtime_ns)
        return all(len(times) > 2 for times in seen)

    wait_for(beaten, seconds=24, what="two more beats of each")
    assert [process.poll() for process in started] == [None] * len(started)


def test_without_a_broker_dispatcher_and_worker_go_on_beating(
    processes: Processes, servers: Servers, environment: dict[str, str]
) -> None:
    product = Product(
        layout=servers.system.layout,
        settings={**environment, "MILLRACE_BROKER_URL": NOWHERE},
        web_port=0,
        flower_port=0,
        flower_password="unused",
    )
    assert_they_beat(
        processes, product.dispatcher("lost-dispatcher"), product.worker("lost", "default", 1)
    )


def test_without_a_database_both_go_on_beating(
    processes: Processes, servers: Servers, environment: dict[str, str], database: str
) -> None:
    product = Product(
        layout=servers.system.layout,
        settings=environment,
        web_port=0,
        flower_port=0,
        flower_password="unused",
    )
    with servers.no_new_connections(database):
        assert_they_beat(
            processes, product.dispatcher("mute-dispatcher"), product.worker("mute", "high", 1)
        )
