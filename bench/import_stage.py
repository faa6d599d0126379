"""What the import benchmarks share: the system, the files, one import timed, and how processes grow."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
import psycopg
from sqlalchemy import Engine, text

from app.db import make_engine
from app.settings import Settings
from bench.servers import HOME
from infra.local.postgres import Postgres
from infra.local.system import ALL, LocalSystem
from infra.local.tenant import Tenant, make_tenant

OURS = ("web", "dispatcher", "worker-high", "worker-default", "worker-low")
COLUMNS = "email,first_name,last_name,company,phone,plan"
POLL_SECONDS = 0.1
LATER_POLL_SECONDS = 0.3
"""After the first three seconds: each look costs the machine that is measured."""
IMPORT_SECONDS = 3600
"""No import of a benchmark takes longer; one that does has failed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The whole system with an engine on its database and one tenant."""

    system: LocalSystem
    engine: Engine
    tenant: Tenant

    def client(self, tenant: Tenant | None = None) -> httpx.Client:
        """An HTTP client with the tenant's key."""
        return httpx.Client(
            base_url=self.system.web_url,
            headers={"Authorization": f"Bearer {(tenant or self.tenant).api_key}"},
            timeout=600,
        )

    def another_tenant(self, name: str) -> Tenant:
        return make_tenant(self.system, name, email=f"{name}@example.com")

    def empty(self) -> None:
        """No contacts and nothing dirty, so that no round pays for the one before."""
        with self.engine.begin() as tx:
            tx.execute(text("DROP TABLE IF EXISTS bench_contacts, staging"))
            tx.execute(text("TRUNCATE contacts"))
        checkpoint(self.system.postgres)


@dataclass(slots=True)
class Timed:
    """One import: seconds from the first byte sent until it was accepted, until the first rows were done,
    and until it had ended; and its last state.
    """

    accepted: float
    first: float
    seconds: float
    state: dict[str, Any] = field(default_factory=dict)


@contextmanager
def stage() -> Iterator[Stage]:
    """Everything but Flower, in the benchmarks' own folder."""
    programs = [name for name in ALL if name != "flower"]
    with LocalSystem(HOME, programs=programs, say=print) as system:
        engine = make_engine(Settings.of(system.settings), pool_size=2, application_name="bench")
        yield Stage(system, engine, make_tenant(system, "bench", email="bench@example.com"))
        engine.dispose()


def sample(rows: int, *, padding: int = 0) -> Path:
    """A contacts file, about 84 bytes a row and `padding` more; kept for the next run."""
    path = HOME / f"contacts-{rows}{f'-{padding}' if padding else ''}.csv"
    if not path.exists():
        dice = Random(7)
        unfinished = path.with_suffix(".part")
        with unfinished.open("w") as file:
            file.write(COLUMNS + (",notes" if padding else "") + "\n")
            for number in range(rows):
                file.write(_row(dice, number, padding))
        unfinished.rename(path)
    return path.resolve()


def _row(dice: Random, number: int, padding: int) -> str:
    return (
        f"user{number}@mail{dice.randrange(5000)}.com,First{dice.randrange(10000)},"
        f"Last{dice.randrange(100000)},Company {dice.randrange(10000)} Ltd,"
        f"+44 20 7946 {number % 10000:04d},plan-{number % 3}"
        + ("," + "lorem ipsum " * (padding // 12) if padding else "")
        + "\n"
    )


def timed_import(client: httpx.Client, path: Path, rows: int, **options: object) -> Timed:
    """Upload the file as a form, and watch it to its end. Raises AssertionError when rows are missing."""
    began = time.perf_counter()
    with path.open("rb") as file:
        answer = client.post(
            "/v1/imports",
            files={"file": (path.name, file, "text/csv")},
            data=_form(options),
        )
    answer.raise_for_status()
    timed = Timed(time.perf_counter() - began, 0.0, 0.0)
    pause = threading.Event()
    while True:
        state = client.get(answer.headers["Location"]).json()
        if not timed.first and state["progress"]["rows_done"]:
            timed.first = time.perf_counter() - began
        if state["status"] not in {"queued", "running"}:
            break
        waited = time.perf_counter() - began
        assert waited < IMPORT_SECONDS, state
        pause.wait(POLL_SECONDS if waited < 3 else LATER_POLL_SECONDS)
    timed.seconds = time.perf_counter() - began
    timed.state = state
    assert state["status"] == "succeeded", state
    assert state["counts"]["inserted"] == state["counts"]["total"] == rows, state
    return timed


def _form(options: dict[str, object]) -> dict[str, str]:
    return {"options": json.dumps(options)} if options else {}


def checkpoint(postgres: Postgres) -> None:
    """So that neither side pays for the other's dirty pages."""
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@contextmanager
def memory(system: LocalSystem) -> Iterator[dict[str, float]]:
    """MB by which each process of ours grew over its idle size, at its peak, filled in at the end."""
    idle = {process.pid: _private(process) for process in _processes(system)}
    peak = dict(idle)
    names: dict[int, str] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            for name, process in _named(system):
                names[process.pid] = name
                size = _private(process)
                idle.setdefault(process.pid, size)
                peak[process.pid] = max(peak.get(process.pid, 0), size)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    grown: dict[str, float] = {}
    try:
        yield grown
    finally:
        stop.set()
        thread.join()
        for pid, name in names.items():
            mb = round((peak[pid] - idle[pid]) / 1e6, 1)
            grown[name] = max(mb, grown.get(name, 0))


def _named(system: LocalSystem) -> Iterator[tuple[str, psutil.Process]]:
    for name in OURS:
        pid = system.pid(name)
        if pid is None:
            continue
        try:
            parent = psutil.Process(pid)
            yield name, parent
            for child in parent.children(recursive=True):
                yield f"{name} child", child
        except psutil.NoSuchProcess:
            continue


def _processes(system: LocalSystem) -> list[psutil.Process]:
    return [process for _, process in _named(system)]


def _private(process: psutil.Process) -> int:
    """Bytes that the process alone holds (USS), so that pages shared by a fork count once."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0
