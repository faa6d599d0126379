"""`docker compose` in a project of its own, with settings and ports of its own."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.compose.smoke.errors import SmokeError

ROOT = Path(__file__).resolve().parents[3]
PROJECT = "millrace-smoke"
WORKERS = ("worker-high", "worker-default", "worker-low")
PRODUCT = ("web", "dispatcher", *WORKERS)
OURS = (*PRODUCT, "flower")
WEB_REPLICAS = 2
WORKER_REPLICAS = 3
PAGES = ("FLOWER", "RABBITMQ", "MAIL", "PROXY", "PROMETHEUS", "ALERTMANAGER", "GRAFANA", "JAEGER")
"""Whose port has a variable of its own in .env, besides the web's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A container that has ended, and how many seconds it took from when it was told to."""

    service: str
    status: int
    seconds: float


@dataclass(slots=True)
class Stack:
    """`secrets` are the lines of the .env file; `without` are services that aren't started."""

    env_file: Path
    profiles: Sequence[str]
    without: frozenset[str]
    first_port: int
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        last = self.first_port + WEB_REPLICAS
        self.env = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(self.env_file),
            "COMPOSE_PROFILES": ",".join(self.profiles),
            "PUBLISH_ADDRESS": "127.0.0.1",
            "WEB_PORT": f"{self.first_port}-{last - 1}",
            **{f"{page}_PORT": str(last + number) for number, page in enumerate(PAGES)},
        }

    def port(self, page: str) -> int:
        return int(self.env[f"{page}_PORT"])

    @property
    def secrets(self) -> dict[str, str]:
        lines = (line for line in self.env_file.read_text().splitlines() if line[:1].isupper())
        return dict(line.split("=", 1) for line in lines)

    @property
    def services(self) -> list[str]:
        named = self.compose("config", "--services").split()
        return sorted(set(named) - self.without)

    @property
    def in_words(self) -> str:
        """For a shell, before a command of Compose's."""
        names = ("COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES", "COMPOSE_PROFILES")
        return " ".join([*(f"{name}={self.env[name]}" for name in names), "docker compose"])

    def compose(self, *words: str, seconds: float = 120) -> str:
        return self.run("docker", "compose", *words, seconds=seconds)

    def run(self, *words: str, seconds: float = 30) -> str:
        """What it printed. Raises SmokeError with the end of it when it fails or takes longer."""
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=self.env, timeout=seconds, check=True,
                capture_output=True, text=True,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            tail = (error.stderr or error.stdout)[-2000:]
            raise SmokeError(f"{' '.join(words)}: exit status {error.returncode}\n{tail}") from None
        except subprocess.TimeoutExpired:
            raise SmokeError(f"{' '.join(words)} took more than {seconds:.0f} s") from None
        return done.stdout

    def up(self, *words: str) -> dict[str, float]:
        """Start what isn't running, wait until all is healthy: after how many seconds, by service."""
        waiting = ("--wait", "--wait-timeout", "240")
        services = self.services
        began = time.time()
        with self._watch() as watcher:
            try:
                up = ("up", "--detach", "--no-build")
                self.compose(*up, *waiting, *words, *services, seconds=300)
            finally:
                watcher.terminate()  # else leaving the block would wait for it for good
            said, _ = watcher.communicate(timeout=30)
        found: dict[str, float] = {}
        for line in said.splitlines():
            event = json.loads(line)
            service = service_of(event["Actor"]["Attributes"])
            found[service] = max(found.get(service, 0), event["timeNano"] / 1e9 - began)
        return found

    def inside(self, service: str, *words: str) -> str:
        return self.compose("exec", "-T", service, *words)

    def sql(self, query: str) -> list[str]:
        """The lines of its answer."""
        words = ("psql", "--username=millrace", "--tuples-only", "--no-align", "--command", query)
        return self.inside("postgres", *words).split()

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What the engine knows of each container, ended ones included."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", *ids)) if ids else []
        return found

    def running(self) -> list[str]:
        return self.compose("ps", "--services").split()

    def processes(self) -> dict[str, int]:
        """How many processes and threads each container has, by its id."""
        ids = self.compose("ps", "--quiet").split()
        said = self.run("docker", "stats", "--no-stream", "--no-trunc", "--format", "json", *ids)
        stats = [json.loads(line) for line in said.splitlines()]
        return {each["ID"]: int(each["PIDs"]) for each in stats}

    def stop(self) -> list[Ended]:
        """Have all end by themselves, each within its grace period."""
        began = time.time()
        self.compose("stop", seconds=240)
        return [
            Ended(
                service=service_of(container["Config"]["Labels"]),
                status=container["State"]["ExitCode"],
                seconds=datetime.fromisoformat(container["State"]["FinishedAt"]).timestamp()
                - began,
            )
            for container in self.containers()
        ]

    def _watch(self) -> "subprocess.Popen[str]":
        """Of each container that becomes healthy, as it does: the engine remembers few events."""
        label = f"label=com.docker.compose.project={PROJECT}"
        filters = ("--filter", label, "--filter", "event=health_status: healthy")
        return subprocess.Popen(
            ["docker", "events", *filters, "--format", "json"],
            env=self.env, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


def service_of(labels: dict[str, str]) -> str:
    return labels["com.docker.compose.service"]


def replicas_of(service: str) -> str:
    """The variable that says how many of it run."""
    return f"{service.upper().replace('-', '_')}_REPLICAS"


def in_words(figures: dict[str, float]) -> str:
    """Seconds by service, the quickest first."""
    ordered = sorted(figures.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in ordered)


def free_ports(count: int = WEB_REPLICAS + len(PAGES)) -> int:
    """The first of `count` ports in a row that nothing listens on."""
    for first in range(18000, 30000, 16):
        if _are_free(range(first, first + count)):
            return first
    raise SmokeError("no free ports")


def _are_free(ports: Iterable[int]) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
