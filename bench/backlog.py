"""Dispatch behind a backlog of a million jobs of ten thousand tenants, against one of a thousand jobs.

The rounds are the dispatcher's own statements in a scratch database, without the broker: what grows with the
backlog would grow here. The backlog is what is left when the measured jobs are gone; a fifth as many wait for later. The
small one is measured before and after the large one, and the mean of both taken. The small one's ten tenants are the
hard comparison: a turn is of fifty jobs there. As notes: against a small one of as many tenants as it has jobs, and what
is left of the ratio right after a checkpoint, when each page that is touched is written to the log as a whole.
"""

import time
from pathlib import Path
from statistics import median

import psycopg
from rich.console import Console
from sqlalchemy import Engine, text

from app.db import make_engine
from app.ledger.outbox import Round, mark_queued, take_due
from app.settings import Settings
from bench.report import Result
from infra.local.system import LocalSystem

JOBS = 4000
BATCH = 500
ROUNDS = 5
SMALL = (1_000, 10)
SCATTERED = (1_000, 1_000)
LARGE = (1_000_000, 10_000)
"""Jobs and tenants."""
TABLES = "jobs, job_history, outbox, in_flight, deadlines, backlog"

_FILL = text("""
    WITH tenant AS MATERIALIZED (
        SELECT uuidv7() AS id FROM generate_series(1, :tenants)
    ), numbered AS (
        SELECT id, row_number() OVER () AS n FROM tenant
    ), job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at)
        SELECT uuidv7(), numbered.id, 'bench.note', 1, 'default', 'scheduled', '{}', 5,
               clock_timestamp() + make_interval(days => CASE WHEN i > :jobs THEN 1 ELSE 0 END)
        FROM generate_series(1, :jobs + :jobs / 5) AS i JOIN numbered ON numbered.n = i % :tenants + 1
        RETURNING id, tenant_id, queue, kind, run_at
    )
    INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind)
    SELECT id, tenant_id, queue, run_at, run_at <= clock_timestamp(), kind FROM job
""")


def run() -> Result:
    """Two databases' worth in one run: the large backlog is made once, and measured between the small ones."""
    console = Console()
    with LocalSystem(Path(".local/bench"), programs=("postgres",), say=print) as system:
        system.run_command("migrate")
        engine = make_engine(Settings.of(system.settings), pool_size=1, application_name="bench")
        small = [_rate(engine, *SMALL) for _ in range(ROUNDS)]
        scattered = [_rate(engine, *SCATTERED) for _ in range(ROUNDS)]
        _fill(engine, LARGE[0] + (ROUNDS + 1) * JOBS, LARGE[1])
        large = [_measure(engine) for _ in range(ROUNDS)]
        with psycopg.connect(system.postgres.superuser_url, autocommit=True) as admin:
            admin.execute("CHECKPOINT")
        checkpointed = _measure(engine)
        small = [(one + _rate(engine, *SMALL)) / 2 for one in small]
        engine.dispose()
    runs = list(zip(large, small, strict=True))
    for ours, baseline in runs:
        console.print(f"{ours:,.0f} against {baseline:,.0f} jobs/s")
    return Result(
        name="backlog",
        unit="jobs/s",
        goal=1 / 1.2,
        baseline_is=f"the same behind {SMALL[0]:,} jobs; ours has {LARGE[0]:,} of {LARGE[1]:,} tenants",
        runs=runs,
        notes={
            "batch": BATCH,
            "ratio_to_a_thousand_tenants": round(median(large) / median(scattered), 3),
            "ratio_after_a_checkpoint": round(checkpointed / median(small), 3),
        },
    )


def _rate(engine: Engine, jobs: int, tenants: int) -> float:
    _fill(engine, jobs + JOBS, tenants)
    return _measure(engine)


def _fill(engine: Engine, jobs: int, tenants: int) -> None:
    with engine.begin() as tx:
        tx.execute(text(f"TRUNCATE {TABLES}"))
        tx.execute(_FILL, {"jobs": jobs, "tenants": tenants})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("VACUUM ANALYZE jobs, outbox"))
    with (
        engine.begin() as tx
    ):  # the plans are made anew after that, and not in the time that is measured
        mark_queued(tx, [job.id for job in take_due(tx, batch=1)])


def _measure(engine: Engine) -> float:
    """Jobs a second, over JOBS jobs."""
    this, taken, began = Round(), 0, time.perf_counter()
    while taken < JOBS:
        with engine.begin() as tx:
            due = take_due(tx, batch=BATCH, this=this)
            mark_queued(tx, [job.id for job in due])
        taken += len(due)
    return taken / (time.perf_counter() - began)
