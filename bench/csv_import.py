r"""Import: a million rows through the public API against psql's \copy and one INSERT ... ON CONFLICT.

Both write the same file into the same database, into tables of the same shape with the same indexes, both
empty before each round. Ours also uploads, stores in S3, checks every value, keeps a ledger and what an undo
needs, and sends the mail; its time is from the first byte sent to the finished import. Memory is watched in
a run of its own, because looking at it takes a tenth of the machine.
"""

import subprocess
import time
from pathlib import Path

from rich.console import Console
from sqlalchemy import text

from bench.import_stage import (
    COLUMNS,
    Stage,
    Timed,
    checkpoint,
    memory,
    sample,
    stage,
    timed_import,
)
from bench.report import Result
from infra.local.postgres import binaries

ROWS = 1_000_000
SMALL_ROWS = 10_000
ROUNDS = 3
GROWTH_LIMIT_MB = 128

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
    """The ratio of rates; notes say when the first rows were done and how our processes grew."""
    console = Console()
    runs: list[tuple[float, float]] = []
    with stage() as on:
        small, large = sample(SMALL_ROWS), sample(ROWS)
        growth: dict[str, dict[str, float]] = {}
        timings: list[Timed] = []
        with memory(on.system) as grown, on.client() as client:
            on.empty()
            timed_import(client, small, SMALL_ROWS)
        growth[f"{SMALL_ROWS} rows"] = grown
        for number in range(ROUNDS):
            baseline = ROWS / _baseline(on, large)
            on.empty()
            with on.client() as client:
                timings.append(timed_import(client, large, ROWS))
            runs.append((ROWS / timings[-1].seconds, baseline))
            console.print(f"round {number + 1}: {runs[-1][0]:,.0f} against {baseline:,.0f} rows/s")
        on.empty()
        with memory(on.system) as grown, on.client() as client:
            timed_import(client, large, ROWS)
        growth[f"{ROWS} rows"] = grown
    worst = max(mb for grown in growth.values() for mb in grown.values())
    return Result(
        name="import",
        unit="rows/s",
        goal=0.8,
        baseline_is=r"psql: \copy into staging, one INSERT ... ON CONFLICT",
        runs=runs,
        notes={
            "rows": ROWS,
            "file_mb": round(large.stat().st_size / 1e6, 1),
            "accepted_seconds": [round(one.accepted, 1) for one in timings],
            "first_progress_seconds": [round(one.first, 1) for one in timings],
            "first_progress_after_acceptance": [
                round(one.first - one.accepted, 1) for one in timings
            ],
            "memory_growth_mb": growth,
            "largest_growth_mb": worst,
            "broken": worst > GROWTH_LIMIT_MB,
        },
    )


def _baseline(on: Stage, path: Path) -> float:
    with on.engine.begin() as tx:
        tx.execute(text("DROP TABLE IF EXISTS bench_contacts, staging"))
        tx.execute(text("CREATE TABLE bench_contacts (LIKE contacts INCLUDING ALL)"))
        columns = ", ".join(f"{name} text" for name in COLUMNS.split(","))
        tx.execute(text(f"CREATE UNLOGGED TABLE staging ({columns})"))
        tx.execute(text("TRUNCATE contacts"))
    checkpoint(on.system.postgres)
    script = _BASELINE.format(path=path, tenant=on.tenant.id)
    began = time.perf_counter()
    subprocess.run(
        [binaries() / "psql", "-qX", on.system.postgres.url()], input=script, text=True, check=True
    )
    return time.perf_counter() - began
