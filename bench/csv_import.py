r"""Import: a million rows through the public API against psql's \copy and one INSERT ... ON CONFLICT.

Both write the same file into the same database, into tables of the same shape with the same indexes, both
empty before each round. Ours also uploads, stores in S3, checks every address, keeps a ledger and sends
the mail; its time is from the first byte sent to the finished import.
"""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import psutil
import psycopg
from rich.console import Console
from sqlalchemy import Engine, text

from app.db import make_engine
from app.settings import Settings
from bench.report import Result
from infra.local.postgres import Postgres, binaries
from infra.local.system import ALL, LocalSystem
from infra.local.tenant import make_tenant

ROWS = 1_000_000
SMALL_ROWS = 10_000
ROUNDS = 3
GROWTH_LIMIT_MB = 100
HOME = Path(".local/bench")
OURS = ("web", "dispatcher", "worker-high", "worker-default", "worker-low")
COLUMNS = "email,first_name,last_name,company,phone,plan"

_BASELINE = r"""
\set ON_ERROR_STOP on
\copy staging FROM '{path}' WITH (FORMAT csv, HEADER true)
INSERT INTO bench_contacts AS c (id, tenant_id, email, first_name, last_name, company, phone, attributes)
SELECT uuidv7(), '{tenant}', lower(email), first_name, last_name, company, phone,
       jsonb_build_object('plan', plan)
FROM staging
ON CONFLICT (tenant_id, email) DO UPDATE
SET first_name = excluded.first_name, last_name = excluded.last_name, company = excluded.company,
    phone = excluded.phone, attributes = excluded.attributes, updated_at = now();
"""


def run() -> Result:
    console = Console()
    runs: list[tuple[float, float]] = []
    programs = [name for name in ALL if name != "flower"]
    with LocalSystem(HOME, programs=programs, say=print) as system:
        engine = make_engine(Settings.of(system.settings), pool_size=1, application_name="bench")
        tenant = make_tenant(system, "bench", email="bench@example.com")
        small, large = (_sample(rows) for rows in (SMALL_ROWS, ROWS))
        growth: dict[str, dict[str, float]] = {}
        first = 0.0
        with _memory(system) as grown:
            _ours(system, engine, tenant.api_key, small, SMALL_ROWS)
        growth[f"{SMALL_ROWS} rows"] = grown
        for number in range(ROUNDS):
            baseline = ROWS / _baseline(system.postgres, engine, tenant.id, large)
            with _memory(system) as grown:
                seconds, first = _ours(system, engine, tenant.api_key, large, ROWS)
            growth[f"{ROWS} rows, round {number + 1}"] = grown
            runs.append((ROWS / seconds, baseline))
            console.print(f"round {number + 1}: {runs[-1][0]:,.0f} against {baseline:,.0f} rows/s")
        engine.dispose()
    worst = max(mb for grown in growth.values() for mb in grown.values())
    return Result(
        name="import",
        unit="rows/s",
        goal=0.5,
        baseline_is=r"psql: \copy into staging, one INSERT ... ON CONFLICT",
        runs=runs,
        notes={
            "rows": ROWS,
            "file_mb": round(large.stat().st_size / 1e6, 1),
            "first_progress_seconds": round(first, 1),
            "memory_growth_mb": growth,
            "largest_growth_mb": worst,
            "broken": worst > GROWTH_LIMIT_MB,
        },
    )


def _sample(rows: int) -> Path:
    path = HOME / f"contacts-{rows}.csv"
    if not path.exists():
        dice = Random(7)
        with path.open("w") as file:
            file.write(COLUMNS + "\n")
            for number in range(rows):
                file.write(
                    f"user{number}@mail{dice.randrange(5000)}.com,First{dice.randrange(10000)},"
                    f"Last{dice.randrange(100000)},Company {dice.randrange(10000)} Ltd,"
                    f"+44 20 7946 {number % 10000:04d},plan-{number % 3}\n"
                )
    return path.resolve()


def _baseline(postgres: Postgres, engine: Engine, tenant: str, path: Path) -> float:
    with engine.begin() as tx:
        tx.execute(text("DROP TABLE IF EXISTS bench_contacts, staging"))
        tx.execute(text("CREATE TABLE bench_contacts (LIKE contacts INCLUDING ALL)"))
        columns = ", ".join(f"{name} text" for name in COLUMNS.split(","))
        tx.execute(text(f"CREATE UNLOGGED TABLE staging ({columns})"))
        tx.execute(text("TRUNCATE contacts"))
    _checkpoint(postgres)
    script = _BASELINE.format(path=path, tenant=tenant)
    began = time.perf_counter()
    subprocess.run(
        [binaries() / "psql", "-qX", postgres.url()], input=script, text=True, check=True
    )
    return time.perf_counter() - began


def _ours(
    system: LocalSystem, engine: Engine, key: str, path: Path, rows: int
) -> tuple[float, float]:
    """Seconds until it has ended, and until the first rows were done."""
    with engine.begin() as tx:
        tx.execute(text("DROP TABLE IF EXISTS bench_contacts, staging"))
        tx.execute(text("TRUNCATE contacts"))
    _checkpoint(system.postgres)
    client = httpx.Client(
        base_url=system.web_url, headers={"Authorization": f"Bearer {key}"}, timeout=120
    )
    first = 0.0
    began = time.perf_counter()
    with path.open("rb") as file:
        answer = client.post("/v1/imports", files={"file": (path.name, file, "text/csv")})
    answer.raise_for_status()
    pause = threading.Event()
    while True:
        state = client.get(answer.headers["Location"]).json()
        if not first and state["progress"]["rows_done"]:
            first = time.perf_counter() - began
        if state["status"] not in {"queued", "running"}:
            break
        assert time.perf_counter() - began < 600, "the import takes more than ten minutes"
        pause.wait(0.1)
    seconds = time.perf_counter() - began
    counts = state["counts"]
    assert counts["inserted"] == counts["total"] == rows, state
    return seconds, first


def _checkpoint(postgres: Postgres) -> None:
    """So that neither side pays for the other's dirty pages."""
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@contextmanager
def _memory(system: LocalSystem) -> Iterator[dict[str, float]]:
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
