r"""Export: a million contacts through the public API into a finished CSV object, against \copy ... to.

The baseline is psql's `\copy (SELECT the same columns) TO` a local file: C, and no order. What a program of this language would
write, COPY by the driver row by row into a local file, is a note. Ours also counts the rows, finds every attribute, orders by
the key, guards each cell against spreadsheets, hashes, and stores in S3; its time is from the order to the finished export.
Each round does all in turn. How our processes grow is looked at in an export of its own, since looking takes a good part of a
core.
"""

import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from rich.console import Console
from sqlalchemy import text

from bench.import_stage import Stage, checkpoint, memory, sample, stage
from bench.report import Result
from bench.servers import HOME
from infra.local.postgres import binaries

ROWS = 1_000_000
ROUNDS = 3
POLL_SECONDS = 0.1
PROGRAMS = ("web", "dispatcher", "worker-low", "postgres", "s3", "rabbitmq")
EXPORT_SECONDS = 900
GROWTH_LIMIT_MB = 128

_FILL = r"""
\set ON_ERROR_STOP on
CREATE TEMPORARY TABLE staging (email text, first_name text, last_name text, company text, phone text, plan text);
\copy staging FROM '{path}' WITH (FORMAT csv, HEADER true)
INSERT INTO contacts (id, tenant_id, email, first_name, last_name, company, phone, attributes)
SELECT uuidv7(), '{tenant}', lower(email), first_name, last_name, company, phone,
       jsonb_build_object('plan', plan)
FROM staging;
VACUUM ANALYZE contacts;
"""
_QUERY = (
    "SELECT email, first_name, last_name, company, phone, attributes ->> 'plan' AS plan"
    " FROM contacts WHERE tenant_id = '{tenant}'"
)
_BASELINE = r"\copy ({query}) TO '{path}' WITH (FORMAT csv, HEADER true)"


def run() -> Result:
    """The ratio of rates for CSV; notes have XLSX, Parquet, and how our processes grew."""
    console = Console()
    runs: list[tuple[float, float]] = []
    growth: dict[str, dict[str, float]] = {}
    others: dict[str, float] = {}
    by_driver: list[int] = []
    cpu: list[dict[str, float]] = []
    with stage() as on:
        on.empty()
        _psql(on, _FILL.format(path=sample(ROWS), tenant=on.tenant.id))
        checkpoint(on.system.postgres)
        out = (HOME / "export-baseline.csv").resolve()
        _export(on, "csv")  # the first one warms the cache for both
        for number in range(ROUNDS):
            by_driver.append(round(ROWS / _driver(on, out)))
            with _cpu(on) as of_psql:
                baseline = ROWS / _psql(on, _BASELINE.format(query=_query(on), path=out))
            with _cpu(on) as spent:
                ours = ROWS / _export(on, "csv")
            cpu.append({**spent, "all of psql's": round(sum(of_psql.values()), 2)})
            runs.append((ours, baseline))
            console.print(f"round {number + 1}: {ours:,.0f} against {baseline:,.0f} rows/s")
        for name in ("csv", "parquet", "xlsx"):
            with memory(on.system) as grown:
                others[name] = round(ROWS / _export(on, name))
            growth[name] = grown
            console.print(f"{name}, watched: {others[name]:,.0f} rows/s")
        out.unlink()
    # The other formats load libraries of their own on first use.
    worst = max(growth["csv"].values())
    return Result(
        name="export",
        unit="rows/s",
        goal=0.5,
        baseline_is=r"psql: \copy (SELECT the same columns) TO a local file",
        runs=runs,
        notes={
            "rows": ROWS,
            "driver_rows_per_second": by_driver,
            "cpu_seconds": cpu,
            "watched_rows_per_second": others,
            "memory_growth_mb": growth,
            "largest_growth_of_csv_mb": worst,
            "broken": worst > GROWTH_LIMIT_MB,
        },
    )


@contextmanager
def _cpu(on: Stage) -> Iterator[dict[str, float]]:
    """CPU seconds that each of the system's programs has taken, filled in at the end, and those of our own
    children: of psql.
    """
    before, own = _spent(on), _of_children()
    spent: dict[str, float] = {}
    yield spent
    for name, seconds in _spent(on).items():
        spent[name] = round(seconds - before[name], 2)
    spent["psql"] = round(_of_children() - own, 2)


def _spent(on: Stage) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in PROGRAMS:
        pid = on.system.pid(name)
        if pid is not None:
            parent = psutil.Process(pid)
            times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
            # Those of children that have ended are their parent's.
            found[name] = sum(
                t.user + t.system + t.children_user + t.children_system for t in times
            )
    return found


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _export(on: Stage, file_format: str) -> float:
    """Seconds from the order to the finished export of all rows."""
    pause = threading.Event()
    with on.client() as client:
        began = time.perf_counter()
        answer = client.post("/v1/exports", json={"target": "contacts", "format": file_format})
        answer.raise_for_status()
        while True:
            state = client.get(answer.headers["Location"]).json()
            if state["status"] not in {"queued", "running"}:
                break
            assert time.perf_counter() - began < EXPORT_SECONDS, state
            pause.wait(POLL_SECONDS)
        seconds = time.perf_counter() - began
    assert (state["status"], state["rows"]) == ("succeeded", ROWS), state
    with on.engine.begin() as tx:
        tx.execute(text("UPDATE exports SET expires_at = clock_timestamp()"))
    return seconds


def _query(on: Stage) -> str:
    return _QUERY.format(tenant=on.tenant.id)


def _driver(on: Stage, path: Path) -> float:
    began = time.perf_counter()
    with psycopg.connect(on.system.postgres.url()) as connection, path.open("wb") as file:
        statement = f"COPY ({_query(on)}) TO STDOUT (FORMAT csv, HEADER true)"
        with connection.cursor().copy(statement.encode()) as copy:
            for row in copy:
                file.write(row)
    return time.perf_counter() - began


def _psql(on: Stage, script: str) -> float:
    began = time.perf_counter()
    command: list[str | Path] = [binaries() / "psql", "-qX", on.system.postgres.url()]
    subprocess.run(command, input=script, text=True, check=True)
    return time.perf_counter() - began
