"""The whole local system with a Prometheus that watches it, and what an operator has at hand."""

import dataclasses
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import psycopg
import yaml  # type: ignore[import-untyped]

from infra.local import LocalError, LocalSystem, Program
from infra.local import prometheus as prometheus_program
from infra.local.layout import ROOT
from infra.local.ports import choose_ports
from infra.local.product import METERED, command_of
from infra.local.program import MARKER
from infra.local.rabbitmq import RabbitMQ
from infra.local.rabbitmq_binaries import server as rabbitmq_server
from infra.local.system import ALL
from infra.local.tenant import Tenant, make_tenant
from infra.local.waiting import until
from tests.incidents.release import FAULT
from tests.incidents.scaled import write_scaled
from tests.incidents.watching import Watcher
from tests.support.ai_provider import KEY, Provider, ai_provider

SCRAPE_SECONDS = 1.0
START_SECONDS = 120.0
RENEWED_KEY = "sk-test-renewed"
SETTINGS = {
    "MILLRACE_LEASE_SECONDS": "5",
    "MILLRACE_RESCUE_AFTER_SECONDS": "5",
    "MILLRACE_CONFIRM_TIMEOUT": "5",
    "MILLRACE_WORKER_MAX_MEMORY_PER_CHILD_KIB": "300000",
    "MILLRACE_AI_API_KEY": KEY,
}
LOW = "worker-low"
WRONG = "worker-low-wrong"
RENEWED = "worker-low-renewed"
"""The pool's worker as it is, of a release that is wrong, and with a new key: one of them runs at a time."""
RUNBOOKS = ROOT / "docs" / "runbooks"


class System(LocalSystem):
    """With the broker's own metrics, which cost every start some seconds."""

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        broker = super().rabbitmq
        return dataclasses.replace(broker, metrics_port=self.ports["metrics-rabbitmq"])

    @cached_property
    def ports(self) -> Mapping[str, int]:
        first = super().ports
        names = (*first, "metrics-rabbitmq", "prometheus")
        return choose_ports(names, self.layout.run / "ports.json", seed=str(self.layout.home))


@dataclass
class Stage:
    """`provider` is where the AI jobs go; `done` collects the commands of the incident that is on."""

    system: System
    provider: Provider
    page: str = ""
    done: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    other: subprocess.Popen[bytes] | None = None

    @cached_property
    def watcher(self) -> Watcher:
        return Watcher(self.system.ports["prometheus"])

    @cached_property
    def fault_file(self) -> Path:
        return self.system.layout.run / "fault"

    def tenant(self, name: str) -> Tenant:
        if name not in self.tenants:
            self.tenants[name] = make_tenant(self.system, name, email=f"{name}@example.com")
        return self.tenants[name]

    @contextmanager
    def client(self, tenant: str) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {self.tenant(tenant).api_key}"}
        url = self.system.web_url
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            yield client

    def post(self, client: httpx.Client, kind: str, **payload: object) -> str:
        """A job. Raises httpx.HTTPStatusError."""
        answer = client.post("/v1/jobs", json={"kind": kind, "payload": payload})
        job_id = str(answer.raise_for_status().json()["id"])
        self.accepted.append(job_id)
        return job_id

    def books(self) -> dict[str, int]:
        """What became of all that was accepted: how many jobs by state, and how many the ledger doesn't have."""
        query = "SELECT state, count(*) FROM jobs WHERE id = ANY(%s) GROUP BY state"
        with self.database() as tx:
            states = {state: int(number) for state, number in tx.execute(query, [self.accepted])}
        return {**states, "lost": len(self.accepted) - sum(states.values())}

    def database(self) -> psycopg.Connection:
        """As the product's own role, in autocommit."""
        return psycopg.connect(self.system.postgres.url(), autocommit=True, connect_timeout=5)

    def rabbitmqctl(self, *words: str) -> str:
        done = subprocess.run(
            [str(rabbitmq_server().with_name("rabbitmqctl")), "--quiet", *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **self.system.rabbitmq.cli_environment()},
        )
        return done.stdout

    def swap(self, now: str) -> None:
        """Have this worker serve the queue low, and none of the others: they share a port for their metrics."""
        self.end_other()
        if now == LOW:
            self.system.start_program(LOW)
            return
        self.system.stop_program(LOW)
        program = _others(self.system)[now]
        home = self.system.layout.home
        if program.before_start:
            program.before_start()
        with self.system.layout.log_of(now).open("ab") as log:
            self.other = subprocess.Popen(
                program.command,
                env={**os.environ, **program.environment, MARKER: str(home)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        if not until(program.ready, seconds=START_SECONDS):
            raise LocalError(f"{now}: not ready after {START_SECONDS:.0f} s")

    def end_other(self) -> None:
        """The wrong release, or the one with the new key, where one runs."""
        if self.other is not None:
            self.other.terminate()
            self.other.wait(60)
            self.other = None

    # --- the runbook ---------------------------------------------------------------------------

    def do(self, line: str, *, instead: Callable[[], object] | None = None, **values: str) -> str:
        """Run a command as the incident's runbook has it, with its words in capitals replaced; what it said.

        `docker compose` is played by the local system's manager, in the way that `instead` says where it is
        not plain. Raises ValueError where the page has no such line.
        """
        text = (RUNBOOKS / f"{self.page}.md").read_text()
        if f"    {line}\n" not in text:
            raise ValueError(f"{self.page}.md has no such command: {line}")
        for name, value in values.items():
            line = line.replace(name, value)
        self.done.append(line)
        words = shlex.split(line)
        match words:
            case _ if instead is not None:
                instead()
            case ["millrace", *rest]:
                return self._millrace(rest)
            case ["rabbitmqctl", *rest]:
                return self.rabbitmqctl(*rest)
            case ["psql", "-c", query]:
                with psycopg.connect(self.system.postgres.superuser_url, autocommit=True) as tx:
                    rows = tx.execute(query.encode()).fetchall()
                return "\n".join(" | ".join(map(str, row)) for row in rows)
            case ["docker", "compose", "start", name]:
                self.system.start_program(name)
            case ["docker", "compose", "restart", name]:
                self.system.restart_program(name)
            case _:
                raise ValueError(f"who runs this? {line}")
        return ""

    def quietly(self, *words: str) -> str:
        """A `millrace` command that isn't part of the runbook."""
        return self._millrace(list(words))

    def note(self, what: str, seconds: float) -> None:
        """For the report."""
        self.notes[what] = seconds

    def seconds_to_end(self, client: httpx.Client, job_id: str, *, limit: float = 120) -> float:
        """How long it takes until the job has succeeded. Raises TimeoutError."""
        began = time.monotonic()
        while time.monotonic() - began < limit:
            if client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded":
                return time.monotonic() - began
            time.sleep(0.1)
        raise TimeoutError(f"job {job_id} has not succeeded within {limit:.0f} s")

    def wait_until_idle(self, queue: str, *, limit: float = 600) -> None:
        """Until nothing of the queue is due or under way. Raises TimeoutError."""
        deadline = time.monotonic() + limit
        query = (
            "SELECT count(*) FROM jobs WHERE queue = %s AND (state IN ('queued', 'running')"
            " OR state = 'scheduled' AND run_at <= now())"
        )
        while time.monotonic() < deadline:
            with self.database() as tx:
                row = tx.execute(query, [queue]).fetchone()
            if row is not None and row[0] == 0:
                return
            time.sleep(0.5)
        raise TimeoutError(f"queue {queue} is not idle after {limit:.0f} s")

    def _millrace(self, words: list[str]) -> str:
        done = subprocess.run(
            command_of(*words),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, **self.system.settings},
        )
        return done.stdout


@contextmanager
def staged(home: Path, *, say: Callable[[str], None]) -> Iterator[Stage]:
    """All of it, started and ready. Raises infra.local.LocalError."""
    server, _ = prometheus_program.ensure_prometheus(say)
    with ai_provider() as provider:
        system = System(
            home,
            programs=[name for name in ALL if name != "flower"],
            environment={**SETTINGS, "MILLRACE_AI_BASE_URL": provider.url},
            extra=lambda system: [_prometheus(system, server)],
            say=say,
        )
        with system:
            stage = Stage(system, provider)
            try:
                yield stage
            finally:
                stage.end_other()
                stage.watcher.close()


def _others(system: LocalSystem) -> dict[str, Program]:
    """Workers that can stand in for the pool's own."""
    plain = system.product.worker(LOW, "low", 1)
    run = system.layout.run
    wrong = {
        "MILLRACE_METRICS_PORT": str(system.ports[f"metrics-{LOW}"]),
        FAULT: str(run / "fault"),
        "PYTHONPATH": str(ROOT),
    }
    renewed = {**wrong, "MILLRACE_AI_API_KEY": RENEWED_KEY}
    release = [
        word.replace("workers.celery_app", "tests.incidents.wrong_release")
        for word in plain.command
    ]
    return {
        WRONG: _twin(system, plain, WRONG, release, wrong),
        RENEWED: _twin(system, plain, RENEWED, list(plain.command), renewed),
    }


def _twin(
    system: LocalSystem, plain: Program, name: str, command: list[str], more: Mapping[str, str]
) -> Program:
    beat = system.layout.heartbeat_of(name)
    environment = {**plain.environment, "MILLRACE_HEARTBEAT_FILE": str(beat), **more}
    return dataclasses.replace(
        plain,
        name=name,
        command=command,
        environment=environment,
        ready=beat.exists,
        before_start=lambda: beat.unlink(missing_ok=True),
    )


def _prometheus(system: LocalSystem, server: Path) -> Program:
    ports = system.ports
    folder = system.layout.home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    workers = [ports[f"metrics-{name}"] for name in METERED if name != "dispatcher"]
    targets = {
        "web": [ports["web"]],
        "dispatcher": [ports["metrics-dispatcher"]],
        "worker": workers,
        "rabbitmq": [ports["metrics-rabbitmq"]],
    }
    config = prometheus_program.configuration(
        targets, rules=write_scaled(folder), seconds=SCRAPE_SECONDS
    )
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return prometheus_program.program(
        server, config=path, data=folder / "data", port=ports["prometheus"]
    )
