"""Bloat: do the ledger's tables stay small and quick under a day's jobs?

The ledger's own statements take JOBS jobs from enqueue to their end (one in twenty is retried, one in fifty
snoozed), then the clean-up removes them, then a quarter as many follow. A day passes in minutes, so autovacuum
looks every second and not every minute. The baseline is the same tables at PostgreSQL's own settings.

The ratio is of the space that the tables take in the end, with their indexes, over both; the notes say more.
"""

import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, Engine, text

from app.db import make_engine
from app.ids import new_id
from app.jobs import ImportChunk
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.outbox import mark_queued, take_due
from app.ledger.prune import prune_jobs
from app.ledger.state import Event
from app.ledger.store import Claimed, claim, settle
from app.settings import Settings
from bench.report import Result
from infra.local.system import LocalSystem

JOBS = int(os.environ.get("BENCH_JOBS", "200000"))
TABLES = ("jobs", "job_history", "outbox", "in_flight")
SAMPLES = 10
BATCH = 500
BACKLOG = 2_000
"""Jobs that wait in the outbox at any time."""
STORAGE = (
    *("fillfactor", "autovacuum_vacuum_scale_factor", "autovacuum_vacuum_threshold"),
    *("autovacuum_vacuum_insert_scale_factor", "autovacuum_vacuum_cost_delay"),
    *("autovacuum_analyze_scale_factor", "autovacuum_analyze_threshold"),
)
_SIZES = text("""
    SELECT c.relname AS name, pg_table_size(c.oid) AS heap, pg_indexes_size(c.oid) AS indexes,
           s.n_live_tup AS live, s.n_dead_tup AS dead, s.n_tup_upd AS updates,
           s.n_tup_hot_upd AS hot, s.autovacuum_count AS vacuums
    FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relname = ANY(:tables)
""")


@dataclass(slots=True)
class Day:
    """What was seen of one run, table by table and over time."""

    samples: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    take_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def most(self, table: str, *columns: str) -> int:
        return max(sum(int(one[table][name]) for name in columns) for one in self.samples)

    def since(self, table: str, column: str) -> int:
        return int(self.samples[-1][table][column]) - int(self.samples[0][table][column])

    def last(self, *tables: str) -> int:
        return sum(
            self.samples[-1][name]["heap"] + self.samples[-1][name]["indexes"] for name in tables
        )

    def facts(self) -> dict[str, Any]:
        tenth = max(1, len(self.take_ms) // 10)
        return {
            **{f"{name} at most, KiB (heap, indexes)": self._peak(name) for name in TABLES},
            **{f"{name} dead rows at most": self.most(name, "dead") for name in TABLES},
            **{f"{name} autovacuums": self.since(name, "vacuums") for name in TABLES},
            "jobs updates that were HOT": round(
                self.since("jobs", "hot") / max(1, self.since("jobs", "updates")), 3
            ),
            "taking a batch, ms (first tenth, last tenth)": (
                round(median(self.take_ms[:tenth]), 1),
                round(median(self.take_ms[-tenth:]), 1),
            ),
            "jobs/s": round(JOBS * 1.25 / self.seconds),
        }

    def _peak(self, name: str) -> tuple[int, int]:
        return self.most(name, "heap") // 1024, self.most(name, "indexes") // 1024


def run() -> Result:
    console = Console()
    with LocalSystem(Path(".local/bench-bloat"), programs=("postgres",), say=print) as system:
        system.run_command("migrate")
        with psycopg.connect(system.postgres.superuser_url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
            admin.execute("SELECT pg_reload_conf()")
        engine = make_engine(Settings.of(system.settings), pool_size=1, application_name="bench")
        ours = _day(engine, console)
        before = _reset(engine)
        baseline = _day(engine, console)
        _restore(engine, before)
        engine.dispose()
    return Result(
        name="bloat",
        unit="jobs per MiB",
        goal=0.8,
        baseline_is="the same tables at PostgreSQL's own settings",
        runs=[(_per_mib(ours), _per_mib(baseline))],
        notes={"jobs": JOBS, "ours": ours.facts(), "baseline": baseline.facts()},
    )


def _per_mib(day: Day) -> float:
    """Of all four tables, at the end."""
    return JOBS * 1.25 / (day.last(*TABLES) / 1024**2)


def _day(engine: Engine, console: Console) -> Day:
    with engine.begin() as tx:
        tx.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
    day = Day()
    _sample(engine, day)
    began = time.perf_counter()
    _work(engine, day, JOBS)
    _clean_up(engine)
    _sample(engine, day)
    _work(engine, day, JOBS // 4)
    day.seconds = time.perf_counter() - began
    _print(day, console)
    return day


def _work(engine: Engine, day: Day, jobs: int) -> None:
    """Enqueue, dispatch, claim and settle, side by side, with a backlog in the outbox."""
    tenant, made, done = uuid4(), 0, 0
    flying: deque[list[UUID]] = deque()
    again: set[UUID] = set()
    sample_at = jobs // SAMPLES
    while done < jobs:
        if made < jobs and made - done < BACKLOG + 2 * BATCH:
            with engine.begin() as tx:
                new = [NewJob(job=ImportChunk(import_id=new_id(), index=n)) for n in range(BATCH)]
                enqueue_many(tx, tenant, new)
            made += BATCH
        flying.append(_dispatch(engine, day))
        if len(flying) > 2 or made >= jobs:
            done += _run(engine, flying.popleft(), again)
        if done >= sample_at:
            _sample(engine, day)
            sample_at += jobs // SAMPLES


def _dispatch(engine: Engine, day: Day) -> list[UUID]:
    with engine.begin() as tx:
        began = time.perf_counter()
        ids = [job.id for job in take_due(tx, batch=BATCH)]
        day.take_ms.append((time.perf_counter() - began) * 1000)
        mark_queued(tx, ids)
    return ids


def _run(engine: Engine, ids: list[UUID], again: set[UUID]) -> int:
    """Fifty in a commit: one each would be the machine's fsync and not the tables."""
    ended = 0
    for at in range(0, len(ids), 50):
        with engine.begin() as tx:
            claimed = [job for job_id in ids[at : at + 50] if (job := _claim(tx, job_id))]
        with engine.begin() as tx:
            for job in claimed:
                ended += _settle(tx, job, again)
    return ended


def _claim(tx: Connection, job_id: UUID) -> Claimed | None:
    return claim(tx, job_id, worker="bench", lease_seconds=60, redelivered=False, message_attempt=1)


def _settle(tx: Connection, job: Claimed, again: set[UUID]) -> bool:
    """One in twenty fails at first, one in fifty is too early at first."""
    dice = job.id.int % 100
    if job.id not in again and dice < 7:
        again.add(job.id)
        settle(
            tx, job, Event.RETRY if dice < 5 else Event.SNOOZE, error={"code": "x", "message": "x"}
        )
        return False
    settle(tx, job, Event.SUCCEED)
    again.discard(job.id)
    return True


def _clean_up(engine: Engine) -> None:
    after: str | None = None
    while True:
        with engine.begin() as tx:
            pruned = prune_jobs(tx, after, days=0)
        if pruned.after is None:
            return
        after = pruned.after


def _sample(engine: Engine, day: Day) -> None:
    with engine.connect() as tx:
        rows = tx.execute(_SIZES, {"tables": list(TABLES)})
        day.samples.append({row["name"]: dict(row) for row in rows.mappings()})


def _reset(engine: Engine) -> dict[str, list[str]]:
    """Take the tables' own settings away; returns them."""
    query = text("SELECT relname, reloptions FROM pg_class WHERE relname = ANY(:tables)")
    with engine.begin() as tx:
        found = {
            row.relname: row.reloptions or [] for row in tx.execute(query, {"tables": list(TABLES)})
        }
        for name in TABLES:
            tx.execute(text(f"ALTER TABLE {name} RESET ({', '.join(STORAGE)})"))
    return found


def _restore(engine: Engine, before: dict[str, list[str]]) -> None:
    with engine.begin() as tx:
        for name, options in before.items():
            if options:
                tx.execute(text(f"ALTER TABLE {name} SET ({', '.join(options)})"))


def _print(day: Day, console: Console) -> None:
    table = Table("table", "MiB over time (heap+indexes)", "dead rows over time")
    for name in TABLES:
        sizes = [(one[name]["heap"] + one[name]["indexes"]) / 1024**2 for one in day.samples]
        table.add_row(
            name,
            " ".join(f"{size:.1f}" for size in sizes),
            " ".join(str(one[name]["dead"]) for one in day.samples),
        )
    console.print(table)
