"""The product's own processes, as programs of the local system."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from infra.local.layout import Layout
from infra.local.ports import LOOPBACK, accepts
from infra.local.program import Program
from infra.local.workers import WORKERS

MIGRATE = "migrate"
WEB, DISPATCHER, FLOWER = "web", "dispatcher", "flower"
FLOWER_USER = "admin"

METERED = (DISPATCHER, *WORKERS)
"""Programs that serve their metrics on a port of their own."""
PORTS = (
    *("postgres", "epmd", "rabbitmq", "distribution", "s3", "smtp", "web", "flower"),
    *(f"metrics-{name}" for name in METERED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`settings` is the environment that every one of its processes gets."""

    layout: Layout
    settings: Mapping[str, str]
    web_port: int
    flower_port: int
    flower_password: str
    metrics_ports: Mapping[str, int] = field(default_factory=dict)
    """Program name -> where it serves its metrics; programs that aren't here serve none."""

    @property
    def metrics_urls(self) -> list[str]:
        """Where the processes of the product show their metrics."""
        ports = (self.web_port, *self.metrics_ports.values())
        return [f"http://{LOOPBACK}:{port}/metrics" for port in ports]

    def programs(self) -> list[Program]:
        workers = [self.worker(name, *facts) for name, facts in WORKERS.items()]
        web = self.web(WEB, self.web_port)
        return [web, self.dispatcher(DISPATCHER), *workers, self._flower()]

    def worker(self, name: str, queue: str, concurrency: int) -> Program:
        """One worker pool; `name` tells it apart from others on the same queue."""
        node = name.removeprefix("worker-")
        return self._beating(
            name,
            [
                *_celery("worker"),
                f"--queues={queue}",
                f"--hostname={node}@%h",
                f"--concurrency={concurrency}",
            ],
            needs=[],  # it waits for the broker by itself, and imports meanwhile
            stop_seconds=40,  # beyond MILLRACE_WORKER_DRAIN_SECONDS
        )

    def web(self, name: str, port: int) -> Program:
        """One web process. No balancer has to notice that it stops, and so it doesn't wait for one."""
        url = f"http://{LOOPBACK}:{port}/readyz"
        return Program(
            name=name,
            command=[*_millrace("web"), f"--host={LOOPBACK}", f"--port={port}"],
            environment={"MILLRACE_WEB_DRAIN_SECONDS": "0", **self.settings},
            needs=[MIGRATE],
            ready=lambda: _is_ok(url),
            stop_seconds=30,
        )

    def dispatcher(self, name: str) -> Program:
        """One dispatcher; several of them share the work."""
        return self._beating(name, _millrace("dispatcher"), needs=[MIGRATE], stop_seconds=30)

    def _flower(self) -> Program:
        return Program(
            name=FLOWER,
            # Without `-A`: it needs the broker's address and none of our code.
            command=[
                *_celery("flower", app=False),
                f"--address={LOOPBACK}",
                f"--port={self.flower_port}",
                "--read_only=True",
                "--persistent=True",
                f"--db={self.layout.home / 'flower.db'}",
            ],
            environment={
                "CELERY_BROKER_URL": self.settings["MILLRACE_BROKER_URL"],
                "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{self.flower_password}",
            },
            ready=lambda: accepts(self.flower_port),
        )

    def _beating(
        self, name: str, command: list[str], *, needs: list[str], stop_seconds: float
    ) -> Program:
        """A process without a port: it is ready when it has touched its heartbeat file."""
        beat = self.layout.heartbeat_of(name)
        return Program(
            name=name,
            command=command,
            environment={
                "MILLRACE_METRICS_PORT": str(self.metrics_ports.get(name, 0)),
                **self.settings,
                "MILLRACE_HEARTBEAT_FILE": str(beat),
            },
            needs=needs,
            ready=beat.exists,
            before_start=lambda: beat.unlink(missing_ok=True),
            stop_seconds=stop_seconds,
        )


def _millrace(command: str) -> list[str]:
    return [str(Path(sys.executable).with_name("millrace")), command]


def _celery(command: str, *, app: bool = True) -> list[str]:
    ours = ["-A", "workers.celery_app"] if app else []
    return [sys.executable, "-m", "celery", *ours, command]


def command_of(*words: str) -> list[str]:
    """The `millrace` of the environment that we run in."""
    return [*_millrace(words[0]), *words[1:]]


def _is_ok(url: str) -> bool:
    if not url.startswith("http://127.0.0.1:"):
        raise ValueError(f"not one of ours: {url}")
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 (checked above)
            return int(answer.status) == 200
    except (URLError, OSError, ValueError):
        return False
