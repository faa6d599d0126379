"""The local system: which programs there are, and how they start, run and stop together."""

import os
import shutil
import signal as signals
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Self

from infra.local import rabbitmq_binaries
from infra.local.credentials import Credentials, load_credentials
from infra.local.errors import AlreadyRunning, LocalError, ProgramFailed, StartCancelled
from infra.local.layout import ROOT, Layout
from infra.local.leftovers import end_leftovers
from infra.local.lock import HomeLock
from infra.local.mailbox import Mail, MailSink
from infra.local.object_store import BUCKET, ObjectStore
from infra.local.ports import LOOPBACK, choose_ports
from infra.local.postgres import Postgres
from infra.local.product import FLOWER_USER, METERED, MIGRATE, PORTS, Product, command_of
from infra.local.program import MARKER, Program
from infra.local.rabbitmq import RabbitMQ
from infra.local.starting import Step, run_steps
from infra.local.supervision import Supervision, tail
from infra.local.waiting import until
from infra.local.workers import PROCESSES, WORKERS

SERVERS = ("postgres", "epmd", "rabbitmq", "s3", "smtp")
PRODUCT = ("web", "dispatcher", *WORKERS, "flower")
ALL = (*SERVERS, *PRODUCT)

ATTEMPTS = 3
"""A program that has ended so often before it was ready will not become ready."""


class LocalSystem:
    """A system kept in `home`, and nowhere else; use it as a context manager.

    Only the named `programs` run, plus `extra` ones of the caller's own; its `set_up` steps run as part of
    the start. `environment` is added to what every process of the product gets. At most one LocalSystem
    runs per home; data, passwords and (where still free) ports outlive it. However its process ends, what it started ends: at
    once, in order, by the manager; or, if the manager died as well, at the next start.
    """

    def __init__(
        self,
        home: Path,
        *,
        programs: Collection[str] = ALL,
        environment: Mapping[str, str] | None = None,
        extra: Callable[["LocalSystem"], Sequence[Program]] | None = None,
        set_up: Callable[["LocalSystem"], Sequence[Step]] | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        if unknown := set(programs) - set(ALL):
            raise ValueError(f"no such programs: {sorted(unknown)}")
        self.layout = Layout(home.resolve())
        self._chosen = frozenset(programs)
        self._environment = dict(environment or {})
        self._extra = extra
        self._set_up = set_up
        self._say = say
        self._lock = HomeLock(self.layout.run / "lock")
        self._supervision = Supervision(self.layout)
        self._cancelled = Event()
        self._programs: dict[str, Program] = {}

    # --- the parts -----------------------------------------------------------------------------

    @cached_property
    def credentials(self) -> Credentials:
        return load_credentials(self.layout.home / "credentials.json")

    @cached_property
    def ports(self) -> Mapping[str, int]:
        kept = self.layout.run / "ports.json"
        return choose_ports(PORTS, kept, seed=str(self.layout.home))

    @cached_property
    def postgres(self) -> Postgres:
        return Postgres(
            folder=self.layout.postgres,
            port=self.ports["postgres"],
            password=self.credentials.postgres_password,
        )

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        return RabbitMQ(
            folder=self.layout.rabbitmq,
            port=self.ports["rabbitmq"],
            epmd_port=self.ports["epmd"],
            distribution_port=self.ports["distribution"],
            password=self.credentials.rabbitmq_password,
            digest=self.layout.digest,
        )

    @cached_property
    def object_store(self) -> ObjectStore:
        return ObjectStore(
            folder=self.layout.s3,
            port=self.ports["s3"],
            access_key_id=self.credentials.s3_access_key_id,
            secret_access_key=self.credentials.s3_secret_access_key,
            page_origin=self.web_url,
        )

    @cached_property
    def mail_sink(self) -> MailSink:
        return MailSink(folder=self.layout.mail, port=self.ports["smtp"])

    @cached_property
    def product(self) -> Product:
        return Product(
            layout=self.layout,
            settings=self.settings,
            web_port=self.ports["web"],
            flower_port=self.ports["flower"],
            flower_password=self.credentials.flower_password,
            metrics_ports={name: self.ports[f"metrics-{name}"] for name in METERED},
        )

    @cached_property
    def settings(self) -> dict[str, str]:
        """The environment of the product's processes: every MILLRACE_* it needs."""
        return {
            "MILLRACE_DATABASE_URL": self.postgres.url(),
            "MILLRACE_BROKER_URL": self.rabbitmq.url,
            "MILLRACE_S3_ENDPOINT_URL": self.object_store.url,
            "MILLRACE_S3_BUCKET": BUCKET,
            "MILLRACE_S3_ACCESS_KEY_ID": self.credentials.s3_access_key_id,
            "MILLRACE_S3_SECRET_ACCESS_KEY": self.credentials.s3_secret_access_key,
            "MILLRACE_SEALING_KEYS": self.credentials.sealing_key,
            "MILLRACE_SMTP_HOST": LOOPBACK,
            "MILLRACE_SMTP_PORT": str(self.ports["smtp"]),
            "MILLRACE_MAIL_FROM": "Millrace <no-reply@millrace.example>",
            "MILLRACE_PUBLIC_URL": self.web_url,
            "MILLRACE_LOG_JSON": "false",
            **({"MILLRACE_PROCESSES": PROCESSES} if self._chosen.issuperset(WORKERS) else {}),
            **self._environment,
        }

    @property
    def web_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['web']}"

    @property
    def flower_url(self) -> str:
        """With the login in it."""
        login = f"{FLOWER_USER}:{self.credentials.flower_password}"
        return f"http://{login}@{LOOPBACK}:{self.ports['flower']}"

    def mails(self, *, recipient: str | None = None) -> list[Mail]:
        """What the SMTP sink took, oldest first."""
        return self.mail_sink.mails(recipient=recipient)

    # --- start and stop ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when every program is ready. Whatever is raised, nothing is left running."""
        self._lock.acquire()
        try:
            self._cancelled.clear()
            rabbitmq_binaries.ensure_installed(self._say)
            self._clean_up()
            self.layout.create()
            self._start_all()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, in order; returns when no process of this system is left."""
        self._cancelled.set()
        if not self._lock.held:
            return
        try:
            self._end_all()
        except BaseException:
            self._end_all()  # a Ctrl-C that came while stopping must not leave the rest running
            raise
        finally:
            self._lock.release()

    def clean_up(self) -> list[str]:
        """End what a crash left running; the names of what was ended. Raises AlreadyRunning."""
        self._lock.acquire()
        try:
            return self._clean_up()
        finally:
            self._lock.release()

    def watch(self, stopped: Event) -> None:
        """Returns when `stopped` is set. Raises ProgramFailed when the process manager dies."""
        while not stopped.wait(0.5):
            if not self._supervision.alive:
                raise ProgramFailed("supervisord", "died; everything is stopped now")

    # --- single programs -----------------------------------------------------------------------

    def names(self) -> list[str]:
        """The programs of this system that were started, in no order to rely on."""
        return list(self._programs)

    def pid(self, name: str) -> int | None:
        """The program's main process; None while it isn't running."""
        return self._supervision.pid_of(name)

    def exit_status(self, name: str) -> int:
        """How the program last ended; 0 also while it has never ended."""
        return int(self._supervision.info(name)["exitstatus"])

    def log_tail(self, name: str, *, lines: int = 25) -> str:
        return tail(self.layout, name, lines=lines)

    def start_program(self, name: str) -> None:
        """Returns when it is ready. Raises ProgramFailed."""
        self._cancelled.clear()
        self._start(self._programs[name])

    def stop_program(self, name: str) -> None:
        """Ask it to end and return when it has; it stays down until it is started again."""
        self._supervision.stop(name)

    def restart_program(self, name: str) -> None:
        self.stop_program(name)
        self.start_program(name)

    def kill_program(self, name: str, signal: int = signals.SIGKILL, *, group: bool = True) -> int:
        """Send `signal` to it, with its children unless `group` is false; its pid at that time.

        The manager starts a program that this ends again at once; `wait_ready` tells when.
        Raises ProgramFailed when it isn't running.
        """
        pid = self.pid(name)
        if pid is None:
            raise ProgramFailed(name, "is not running")
        beat = self.layout.heartbeat_of(name)
        (os.killpg if group else os.kill)(pid, signal)
        if signal == signals.SIGKILL:
            beat.unlink(missing_ok=True)
        return pid

    def wait_ready(self, name: str, *, seconds: float = 60, not_pid: int | None = None) -> float:
        """Wait until it runs (as another process than `not_pid`) and is ready; seconds it took."""
        began = time.monotonic()
        program = self._programs[name]

        def is_ready() -> bool:
            pid = self.pid(name)
            return pid is not None and pid != not_pid and program.ready()

        if not until(is_ready, seconds=seconds, cancelled=self._cancelled):
            raise ProgramFailed(name, f"not ready after {seconds:.0f} s", self.log_tail(name))
        return time.monotonic() - began

    def run_command(self, *words: str, timeout: float = 60) -> str:
        """Run one `millrace` command in this system; its standard output. Raises ProgramFailed."""
        done = subprocess.run(
            command_of(*words),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            env={**os.environ, **self.settings, MARKER: str(self.layout.home)},
        )
        if done.returncode:
            output = f"{done.stdout}{done.stderr}"
            raise ProgramFailed(words[0], f"exit status {done.returncode}", output)
        return done.stdout

    # --- how -----------------------------------------------------------------------------------

    def _clean_up(self) -> list[str]:
        ended = end_leftovers(self.layout.home)
        if ended:
            self._say(f"ended what an earlier run left: {', '.join(ended)}")
        return ended

    def _start_all(self) -> None:
        steps: list[Step] = []
        if "postgres" in self._chosen:
            self.postgres.folder.mkdir(parents=True, exist_ok=True)
            steps.append(Step(name="initdb", run=self.postgres.prepare))
            steps.append(
                Step(name="database", run=self.postgres.create_database, needs=["postgres"])
            )
        if self._chosen & set(PRODUCT):
            steps.append(Step(name=MIGRATE, run=self._migrate, needs=["database"]))
        self._programs = {program.name: program for program in self._select()}
        self._set_logs_aside()
        self._supervision.begin(self._programs.values())
        steps.extend(self._step(program) for program in self._programs.values())
        steps.extend(self._set_up(self) if self._set_up else ())
        run_steps(steps, self._cancelled)

    def _end_all(self) -> None:
        self._supervision.end()
        end_leftovers(self.layout.home)

    def _set_logs_aside(self) -> None:
        """A log's tail should tell of this run; the run before is kept beside it."""
        for log in self.layout.log.glob("*.log"):
            log.replace(log.with_suffix(".log.before"))

    def _select(self) -> list[Program]:
        servers: list[Program] = []
        if "postgres" in self._chosen:
            servers.append(self.postgres.program())
        if {"rabbitmq", "epmd"} & self._chosen:
            servers.extend(self.rabbitmq.programs())
        if "s3" in self._chosen:
            servers.append(self.object_store.program())
        if "smtp" in self._chosen:
            servers.append(self.mail_sink.program())
        product = [part for part in self.product.programs() if part.name in self._chosen]
        return [*servers, *product, *(self._extra(self) if self._extra else ())]

    def _step(self, program: Program) -> Step:
        return Step(name=program.name, run=lambda: self._start(program), needs=program.needs)

    def _migrate(self) -> None:
        """In this process; imported here, so that the servers start a second sooner."""
        from app.migrations.run import upgrade
        from app.settings import Settings

        upgrade(Settings.of(self.settings))

    def _start(self, program: Program) -> None:
        """Start one program and wait until it is ready."""
        name = program.name
        if program.before_start:
            program.before_start()
        self.layout.log_of(name).touch()
        self._supervision.start(name)
        began = time.monotonic()
        pids: set[int] = set()
        while not until(program.ready, seconds=1, cancelled=self._cancelled):
            if self._cancelled.is_set():
                raise StartCancelled(f"{name}: given up")
            if not self._supervision.alive:
                raise ProgramFailed("supervisord", "died", self.log_tail("supervisord"))
            pids.add(self.pid(name) or 0)
            if len(pids) > ATTEMPTS or time.monotonic() - began > program.ready_seconds:
                raise ProgramFailed(name, _reason(pids, program), self.log_tail(name))


def _reason(pids: set[int], program: Program) -> str:
    if len(pids) > ATTEMPTS:
        return "keeps ending before it is ready"
    return f"not ready after {program.ready_seconds:.0f} s"


def stop_running(home: Path, *, seconds: float = 90) -> list[str]:
    """Stop the system in `home`, whoever runs it, and end what a crash left; what was ended."""
    system = LocalSystem(home)
    if not home.exists():
        return []
    try:
        return system.clean_up()
    except AlreadyRunning:
        pid = HomeLock(system.layout.run / "lock").holder()
    if pid is None:
        raise LocalError(f"{home} is held by a process that does not say who it is")
    os.kill(pid, signals.SIGTERM)
    free: list[list[str]] = []

    def is_free() -> bool:
        try:
            free.append(system.clean_up())
        except AlreadyRunning:
            return False
        return True

    if not until(is_free, seconds=seconds):
        raise LocalError(f"process {pid} does not stop; end it with: kill -9 {pid}")
    return [f"the system of process {pid}", *free[0]]


def forget(home: Path) -> None:
    """Delete a home and all its data. Raises AlreadyRunning."""
    LocalSystem(home).clean_up()
    shutil.rmtree(home, ignore_errors=True)
