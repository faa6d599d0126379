"""The lines to database and broker fall silent: nothing is refused or reset, no packet is acknowledged. Every
process notices in a bounded time, says what it misses, stays alive, and goes on by itself.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.settings import Settings
from app.storage import Storage
from infra.local.ports import LOOPBACK, choose_ports
from infra.local.product import Product
from infra.local.waiting import until
from tests.chaos.links import Links
from tests.support.customers import Customer
from tests.support.lines import lines_to
from tests.support.processes import Processes
from tests.support.servers import Servers, wait_for
from tests.support.web import plain_client, web_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's packet filters")

SILENCE_SECONDS = 2
BOUND_SECONDS = 25.0
"""What is sent and what is waited for, one after the other, and some for a slow machine."""
PORTS = ("control", "postgres", "rabbitmq", "dispatcher", "worker")
LINES = ("postgres", "rabbitmq")
FILE = ("people.csv", b"email\nada@example.com\n", "text/csv")
WATCHED = {
    ("web", "database"),
    ("dispatcher", "database"),
    ("dispatcher", "broker"),
    ("worker", "database"),
    ("worker", "broker"),
}


@pytest.fixture
def ports(tmp_path: Path) -> dict[str, int]:
    return choose_ports(PORTS, tmp_path / "ports.json", seed=str(tmp_path))


@pytest.fixture
def links(servers: Servers, ports: dict[str, int], tmp_path: Path) -> Iterator[Links]:
    system = servers.system
    targets = {"postgres": system.postgres.port, "rabbitmq": system.rabbitmq.port}
    with lines_to(tmp_path, targets, ports) as made:
        yield made


def through(url: str, port: int) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{port}/")


def health(port: int, path: str) -> tuple[int, dict[str, str]]:
    with plain_client(f"http://{LOOPBACK}:{port}") as client:
        answer = client.get(path, timeout=5)
    return answer.status_code, answer.json().get("checks", {})


@dataclass(slots=True)
class System:
    """The three kinds of processes behind the lines; `everyone` is name -> port."""

    everyone: dict[str, int]
    beats: list[Path]
    client: httpx.Client
    missed: dict[tuple[str, str], float] = field(default_factory=dict)

    def ready(self) -> bool:
        return all(health(port, "/readyz")[0] == 200 for port in self.everyone.values())

    def imports(self, what: str) -> None:
        """A file goes through all of them."""
        place = str(self.client.post("/v1/imports", files={"file": FILE}).headers["location"])
        done = lambda: self.client.get(place).json()["status"] == "succeeded"  # noqa: E731
        wait_for(done, seconds=40, what=what)

    def watch(self, began: float) -> bool:
        """Whether everyone has missed all that it needs; nobody is less alive for it."""
        for name, port in self.everyone.items():
            status, checks = health(port, "/readyz")
            for server, answer in checks.items():
                if answer != "ok":
                    assert status == 503
                    self.missed.setdefault((name, server), time.monotonic() - began)
            assert health(port, "/livez")[0] == 200
        return set(self.missed) >= WATCHED


@pytest.fixture
def system(
    processes: Processes,
    servers: Servers,
    environment: dict[str, str],
    links: Links,
    ports: dict[str, int],
    storage: Storage,
    tenant: Customer,
) -> Iterator[System]:
    behind = {
        **environment,
        "MILLRACE_DATABASE_URL": through(environment["MILLRACE_DATABASE_URL"], ports["postgres"]),
        "MILLRACE_BROKER_URL": through(environment["MILLRACE_BROKER_URL"], ports["rabbitmq"]),
        "MILLRACE_SILENCE_SECONDS": str(SILENCE_SECONDS),
    }
    product = Product(
        layout=servers.system.layout,
        settings=behind,
        web_port=0,
        flower_port=0,
        flower_password="unused",
        metrics_ports={name: ports[name] for name in ("dispatcher", "worker")},
    )
    programs = (product.dispatcher("dispatcher"), product.worker("worker", "default", 1))
    for program in programs:
        processes.start(program)
    beats = [Path(program.environment["MILLRACE_HEARTBEAT_FILE"]) for program in programs]
    with web_server(Settings.of(behind)) as web, web.client(tenant.key) as client:
        everyone = {"web": web.port, **{name: ports[name] for name in ("dispatcher", "worker")}}
        yield System(everyone, beats, client)


def test_every_process_notices_says_so_lives_on_and_recovers(
    system: System, links: Links, processes: Processes
) -> None:
    wait_for(system.ready, what="all ready")
    system.imports("the first import")
    for line in LINES:
        links.set(line, "silent")
    began = time.monotonic()
    noticed = until(lambda: system.watch(began), seconds=BOUND_SECONDS)
    assert noticed, f"{system.missed}\n{processes.log('worker')}"
    # Not only who asks for its health: what the dispatcher had open is given up as well.
    wait_for(
        lambda: "dispatcher.disconnected" in processes.log("dispatcher"),
        seconds=BOUND_SECONDS,
        what="the dispatcher to notice",
    )
    noted = time.time()
    # It is their loops that live, and not only the thread that answers.
    wait_for(lambda: all(beat.stat().st_mtime > noted for beat in system.beats), what="the beats")
    refused = system.client.get("/v1/jobs")
    assert refused.status_code == 503, "and a customer is told to come again, in a bounded time"
    for line in LINES:
        links.set(line)
    wait_for(system.ready, seconds=40, what="all ready again")
    system.imports("an import afterwards")
