"""The system that the faults strike: real servers, two of most processes, and a proxy on every line."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import psycopg

from app.settings import Settings
from infra.local import SERVERS, LocalSystem, Program, Step
from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK, accepts, choose_ports
from infra.local.tenant import Tenant, make_tenant
from tests.chaos import busy, faketime
from tests.chaos.breaks import BREAK
from tests.chaos.charging import PROVIDER_URL
from tests.chaos.handlers import ACCOUNTS, TABLES
from tests.chaos.links import LINKS, SERVERS_OF, Links

LEASE_SECONDS = 4.0
ABANDONED_SECONDS = 15.0
SETTINGS = {
    "MILLRACE_LEASE_SECONDS": str(LEASE_SECONDS),
    "MILLRACE_CONFIRM_TIMEOUT": "3",
    "MILLRACE_DISPATCH_POLL_SECONDS": "0.5",
    "MILLRACE_IMPORT_CHUNK_BYTES": "60000",
    "MILLRACE_UPLOAD_PART_BYTES": str(5 * 1024 * 1024),
    "MILLRACE_DB_POOL_SIZE": "6",
    "MILLRACE_WEB_DRAIN_SECONDS": "0",
    "MILLRACE_RESCUE_AFTER_SECONDS": "3",
    "MILLRACE_UPLOAD_ABANDONED_SECONDS": str(ABANDONED_SECONDS),
}
ADDRESSES: Mapping[str, str] = {
    "MILLRACE_DATABASE_URL": "postgres",
    "MILLRACE_BROKER_URL": "rabbitmq",
    "MILLRACE_S3_ENDPOINT_URL": "s3",
    "MILLRACE_SMTP_PORT": "smtp",
}
WEBS = ("web-1", "web-2")
DISPATCHERS = ("dispatcher-1", "dispatcher-2")
WORKERS: Mapping[str, tuple[str, int]] = {
    "worker-default-1": ("default", 2),
    "worker-default-2": ("default", 2),
    "worker-high-1": ("high", 1),
    "worker-high-2": ("high", 1),
    "worker-low-1": ("low", 1),
    "worker-low-2": ("low", 1),
}
"""Program name -> its queue and its children."""
FEW_WORKERS: Mapping[str, tuple[str, int]] = {
    "worker-default-1": ("default", 2),
    "worker-default-2": ("default", 2),
    "worker-high-1": ("high,low", 1),
}
"""Those of a small campaign, whose time is the starts of its processes."""
SEVERAL = ("worker-default-2", "worker-high-1")
"""Workers whose children take several messages at a time."""
CLOCKED = ("web-2", "dispatcher-2", "worker-default-2")
"""The programs whose clock can be put off."""


class Stage:
    """Everything that runs. `breaking` names the promise to break, "" for none."""

    def __init__(
        self,
        home: Path,
        *,
        seed: int,
        small: bool = False,
        breaking: str = "",
        say: Callable[[str], None],
    ) -> None:
        self.workers = FEW_WORKERS if small else WORKERS
        self._seed = seed
        self._breaking = breaking
        self._faketime = faketime.ensure_library(say)
        self.system = LocalSystem(
            home,
            programs=SERVERS,
            environment=SETTINGS,
            extra=lambda _: self._programs(),
            set_up=lambda _: [Step(name="tables", run=self._set_up, needs=["database"])],
            say=say,
        )
        self._tenant: Tenant | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of it, started and ready, until the block ends. Raises infra.local.LocalError."""
        with self.system:
            self.links = Links(self.ports["control"])
            yield

    @property
    def has_faketime(self) -> bool:
        return self._faketime is not None

    @property
    def tenant(self) -> Tenant:
        assert self._tenant is not None, "the stage isn't running"
        return self._tenant

    @property
    def settings(self) -> Settings:
        """To speak to the servers past the proxies."""
        return Settings.of(self.system.settings)

    @property
    def books(self) -> Path:
        """The provider's folder."""
        return self.system.layout.run

    @cached_property
    def busy(self) -> Path:
        """Where the workers' children say what they run."""
        folder = self.system.layout.run / "busy"
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def ports(self) -> dict[str, int]:
        names = ("control", "provider", *WEBS, *LINKS)
        _ = self.system.ports  # theirs are chosen first, into the same file, so that no two meet
        kept = self.system.layout.run / "ports.json"
        return choose_ports(names, kept, seed=f"chaos {self.system.layout.home}")

    def database(self) -> psycopg.Connection:
        """A connection past the proxies, in autocommit. Raises psycopg.OperationalError."""
        return psycopg.connect(
            self.system.postgres.url(), autocommit=True, application_name="chaos", connect_timeout=5
        )

    def superuser(self) -> psycopg.Connection:
        """To end other people's backends. Raises psycopg.OperationalError."""
        return psycopg.connect(
            self.system.postgres.superuser_url, autocommit=True, connect_timeout=5
        )

    def set_clock(self, name: str, seconds: int) -> None:
        """Put a program's clock off; 0 puts it right."""
        faketime.set_clock(self._clock(name), seconds)

    def _set_up(self) -> None:
        from app.migrations.run import upgrade

        upgrade(self.settings)
        self._tenant = make_tenant(self.system, "chaos", email="chaos@example.com")
        with self.database() as tx:
            for statement in TABLES:
                tx.execute(statement)
            tx.execute(
                "INSERT INTO chaos_accounts (account) SELECT generate_series(0, %s)",
                [ACCOUNTS - 1],
            )

    # --- programs ------------------------------------------------------------------------------

    def _programs(self) -> list[Program]:
        return [
            self._proxy(),
            self._provider(),
            *(self._web(name) for name in WEBS),
            *(self._dispatcher(name) for name in DISPATCHERS),
            *(self._worker(name, *facts) for name, facts in self.workers.items()),
        ]

    def _proxy(self) -> Program:
        targets = {**self.system.ports, **self.ports}
        links = {
            f"{kind}-{server}": (self.ports[f"{kind}-{server}"], targets[server])
            for kind, servers in SERVERS_OF.items()
            for server in servers
        }
        plan = self.system.layout.run / "proxy.json"
        plan.write_text(json.dumps({"control": self.ports["control"], "links": links}))
        return Program(
            name="proxy",
            command=[sys.executable, "-m", "tests.chaos.proxy", str(plan)],
            ready=lambda: accepts(self.ports["control"]),
            server=True,
        )

    def _provider(self) -> Program:
        port = self.ports["provider"]
        words = ["tests.chaos.provider", str(port), str(self.books), str(self._seed)]
        return Program(
            name="provider",
            command=[sys.executable, "-m", *words],
            ready=lambda: accepts(port),
            server=True,
        )

    def _web(self, name: str) -> Program:
        port = self.ports[name]
        return Program(
            name=name,
            command=[sys.executable, "-m", "tests.chaos.web_process", str(port)],
            environment=self._environment("web", name),
            needs=["tables", "proxy"],
            ready=lambda: accepts(port),
        )

    def _dispatcher(self, name: str) -> Program:
        return self._beating("dispatcher", name, ["tests.chaos.dispatcher_process"])

    def _worker(self, name: str, queue: str, children: int) -> Program:
        words = ["celery", "-A", "tests.chaos.worker_process", "worker", f"--queues={queue}"]
        node = [f"--hostname={name}@chaos", f"--concurrency={children}"]
        return self._beating("worker", name, [*words, *node])

    def _beating(self, kind: str, name: str, module: Sequence[str]) -> Program:
        beat = self.system.layout.heartbeat_of(name)
        environment = {"MILLRACE_HEARTBEAT_FILE": str(beat)}
        return Program(
            name=name,
            command=[sys.executable, "-m", *module],
            environment={**self._environment(kind, name), **environment},
            needs=["tables", "proxy"],
            ready=beat.exists,
            before_start=lambda: beat.unlink(missing_ok=True),
            stop_seconds=40,
        )

    def _environment(self, kind: str, name: str) -> dict[str, str]:
        """The product's settings, with every address replaced by that of the kind's own link."""
        made = {**self.system.settings, BREAK: self._breaking, "PYTHONPATH": str(ROOT)}
        for variable, server in ADDRESSES.items():
            link = self.ports.get(f"{kind}-{server}")
            if link is not None:
                # In front of the number is a colon, or nothing: no password looks like that.
                address = rf"(^|:){self.system.ports[server]}\b"
                made[variable] = re.sub(address, rf"\g<1>{link}", made[variable])
        if kind == "worker":
            made[PROVIDER_URL] = f"http://{LOOPBACK}:{self.ports['worker-provider']}"
            made[busy.FOLDER] = str(self.busy)
        if name in SEVERAL:
            made["MILLRACE_WORKER_TAKES"] = "4"
        if self._faketime is not None and name in CLOCKED:
            made |= faketime.environment(self._faketime, self._clock(name))
        return made

    def _clock(self, name: str) -> Path:
        return self.system.layout.run / f"{name}.clock"
