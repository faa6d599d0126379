"""A process that waits for its servers is alive: no probe may restart it for their absence."""

import subprocess
from pathlib import Path

from infra.local.product import Product
from infra.local.program import Program
from tests.support.processes import Processes
from tests.support.servers import Servers, wait_for

NOWHERE = "amqp://nobody:nothing@127.0.0.1:1/none"


def beats(program: Program, process: subprocess.Popen[bytes]) -> None:
    """Its heartbeat goes on, again and again."""
    file = Path(program.environment["MILLRACE_HEARTBEAT_FILE"])
    seen = {file.stat().st_mtime_ns}

    def beaten() -> bool:
        seen.add(file.stat().st_mtime_ns)
        return len(seen) > 3

    wait_for(beaten, seconds=24, what="three beats")
    assert process.poll() is None


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
    for program in (product.dispatcher("lost-dispatcher"), product.worker("lost", "default", 1)):
        beats(program, processes.start(program))


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
        for program in (product.dispatcher("mute-dispatcher"), product.worker("mute", "high", 1)):
            beats(program, processes.start(program))
