"""Dispatch behind a backlog of a million jobs of ten thousand tenants, against one of a thousand jobs.

A round is the dispatcher's: which jobs are due, in whose turn, published, confirmed and marked. The backlog is what is left
when the measured jobs are gone; a fifth as many wait for later. The small one, filled anew for each part of a round, is
measured before and after the large one, and the mean of both taken. Its ten tenants are the hard comparison: a turn is of
fifty jobs there. As notes: against a small one of as many tenants as it has jobs; the ratio by the statements alone, without
the broker, for what grows with the backlog would grow there; and what is left of the ratio right after a checkpoint, when
each page that is touched is written to the log as a whole.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import psycopg
from rich.console import Console
from sqlalchemy import Connection, text

from app.broker.publisher import Publisher, connect
from app.broker.topology import Queue
from app.db import make_engine
from app.dispatcher import dispatch_batch
from app.ledger.outbox import Round, mark_queued, take_due
from app.settings import Settings
from bench.report import Result
from infra.local.system import LocalSystem

JOBS = 4000
PARTS = 5
"""Of JOBS each in a round: one alone is too short a time to judge by."""
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


@dataclass(frozen=True, slots=True)
class Rates:
    """Jobs a second: with all that a dispatcher does, and of its statements alone."""

    whole: float
    statements: float

    def mean(self, other: "Rates") -> "Rates":
        return Rates((self.whole + other.whole) / 2, (self.statements + other.statements) / 2)


def run() -> Result:
    """Two databases' worth in one run: the large backlog is made once, and measured between the small ones."""
    console = Console()
    servers = ("postgres", "epmd", "rabbitmq")
    with LocalSystem(Path(".local/bench"), programs=servers, say=print) as system:
        system.run_command("migrate")
        bench = Backlogs(Settings.of(system.settings))
        small = [bench.behind(SMALL) for _ in range(ROUNDS)]
        scattered = [bench.behind(SCATTERED) for _ in range(ROUNDS)]
        bench.fill(LARGE[0] + (2 * PARTS * ROUNDS + 2) * (JOBS + BATCH), LARGE[1])
        large = [bench.rates(lambda: None) for _ in range(ROUNDS)]
        with psycopg.connect(system.postgres.superuser_url, autocommit=True) as admin:
            admin.execute("CHECKPOINT")
        checkpointed = bench.rates(lambda: None, parts=1)
        small = [one.mean(bench.behind(SMALL)) for one in small]
        bench.close()
    for ours, baseline in zip(large, small, strict=True):
        console.print(
            f"{ours.whole:,.0f} against {baseline.whole:,.0f} jobs/s, "
            f"the statements alone {ours.statements:,.0f} against {baseline.statements:,.0f}"
        )
    return Result(
        name="backlog",
        unit="jobs/s",
        goal=1 / 1.2,
        baseline_is=f"the same behind {SMALL[0]:,} jobs; ours has {LARGE[0]:,} of {LARGE[1]:,} tenants",
        runs=[(ours.whole, baseline.whole) for ours, baseline in zip(large, small, strict=True)],
        notes={
            "batch": BATCH,
            "ratio_of_the_statements_alone": _ratio(large, small, "statements"),
            "ratio_to_a_thousand_tenants": _ratio(large, scattered, "whole"),
            "ratio_after_a_checkpoint": _ratio([checkpointed], small, "whole"),
        },
    )


def _ratio(ours: list[Rates], baseline: list[Rates], name: str) -> float:
    mine, other = (median(float(getattr(one, name)) for one in side) for side in (ours, baseline))
    return round(mine / other, 3)


def _mark(tx: Connection, this: Round) -> int:
    due = take_due(tx, batch=BATCH, this=this)
    mark_queued(tx, [job.id for job in due])
    return len(due)


class Backlogs:
    """A dispatcher's work behind one backlog after the other, in one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = make_engine(settings, pool_size=1, application_name="bench")

    def behind(self, backlog: tuple[int, int]) -> Rates:
        """A round behind so many jobs of so many tenants, filled anew for each of its parts."""
        jobs, tenants = backlog
        return self.rates(lambda: self.fill(jobs + JOBS, tenants))

    def rates(self, prepare: Callable[[], None], *, parts: int = PARTS) -> Rates:
        """A round; `prepare` comes before each part of it, and isn't timed."""
        whole: list[float] = []
        statements: list[float] = []
        with closing(Publisher(self._settings)) as publisher:
            for _ in range(parts):
                prepare()
                whole.append(
                    self._measure(
                        lambda tx, this: dispatch_batch(tx, publisher, batch=BATCH, this=this)
                    )
                )
                self._purge()
                prepare()
                statements.append(self._measure(_mark))
        return Rates(1 / fmean(whole), 1 / fmean(statements))

    def fill(self, jobs: int, tenants: int) -> None:
        """A backlog of so many jobs, and a fifth as many that are due later."""
        self._empty()
        with self._engine.begin() as tx:
            tx.execute(_FILL, {"jobs": jobs, "tenants": tenants})
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
            tx.execute(text("VACUUM ANALYZE jobs, outbox"))
        # The plans are made anew after that, and not in the time that is measured.
        with self._engine.begin() as tx:
            mark_queued(tx, [job.id for job in take_due(tx, batch=1)])

    def close(self) -> None:
        """Leave nothing: the next benchmark's system has the same database, and a dispatcher."""
        self._empty()
        self._engine.dispose()

    def _measure(self, step: Callable[[Connection, Round], int]) -> float:
        """Seconds for a job, of JOBS or of the few more that the last round has: not every one is of BATCH."""
        this, taken, began = Round(), 0, time.perf_counter()
        while taken < JOBS:
            with self._engine.begin() as tx:
                taken += step(tx, this)
        return (time.perf_counter() - began) / taken

    def _purge(self) -> None:
        connection = connect(self._settings, heartbeat=0)
        connection.channel().queue_purge(Queue.DEFAULT.value)
        connection.close()

    def _empty(self) -> None:
        with self._engine.begin() as tx:
            tx.execute(text(f"TRUNCATE {TABLES}"))
