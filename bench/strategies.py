"""The three strategies for real: one static queue, static queues, and pools that follow the lag, on this machine.

What `bench.autoscale` simulates runs here, small: jobs that sleep come for three minutes, most of them in two surges, through outbox,
dispatcher, RabbitMQ and Celery's prefork pools. The lag-driven pools (`celery worker --autoscale`) come first; the
static ones then get as many children as gives the same worker-seconds, rounded to the nearest. A worker-second is a
child process that is there for a second, while the traffic lasts. The ratio is the share of the
static queue's p99 wait that is saved.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import enqueue
from bench.autoscale_pools import divided
from bench.autoscale_traffic import DAY, Day, Traffic, make_day
from bench.report import Result
from bench.servers import servers
from bench.throughput import Ours, running
from infra.local import postgres
from infra.local.program import Program
from infra.local.system import LocalSystem
from infra.local.waiting import until

SECONDS = 180.0
SAMPLE_SECONDS = 0.2
JOBS = 2_350
TRAFFIC = Traffic(
    name="surges",
    swing=0.8,
    bursts=2,
    burst_share=0.7,
    burst_seconds=25 * DAY / SECONDS,
    shorter=2.0,
)
SEED = 1
"""The first whose surges are apart."""
QUEUES = ("high", "default", "low")
MOST = {"high": 8, "default": 14, "low": 18}
"""Children of the lag-driven pools; for as many connections as these may open, PostgreSQL gets room."""
FINE_SECONDS = 0.25
"""A pool is over a surge when who comes next waits no longer than this."""
SCALING = {
    "MILLRACE_PROCESSES": "web=1 dispatcher=1 "
    + " ".join(f"{queue}=1x{most}" for queue, most in MOST.items()),
    "MILLRACE_DB_POOL_SIZE": "1",
    "MILLRACE_SCALING_POLL_SECONDS": "0.5",
    "MILLRACE_SCALING_DRAIN_SECONDS": "3",
    "MILLRACE_SCALING_MAX_LAG_SECONDS": "1",
    "MILLRACE_SCALING_DOWN_SECONDS": "10",
}
"""The policy's own proportions, some thirty times as fast; down a little slower."""

Waits = NDArray[np.float64]
# What a schedule posts meanwhile is nobody's.
_WAITS = text("""
    SELECT extract(epoch FROM c.at - e.at)::float8
    FROM jobs j JOIN job_history e ON e.job_id = j.id AND e.event = 'enqueue'
    JOIN job_history c ON c.job_id = j.id AND c.event = 'claim'
    WHERE j.kind LIKE 'bench.%' ORDER BY e.id
""")
_LEFT = text("SELECT count(*) FROM jobs WHERE state <> 'succeeded'")
TABLES = "jobs, job_history, outbox, in_flight, backlog, processes"


@dataclass(frozen=True, slots=True)
class Outcome:
    """In seconds; `late` is how long after its moment a job was enqueued, at most."""

    waits: Waits
    recoveries: Sequence[float]
    worker_seconds: float
    late: float

    def percentile(self, share: float) -> float:
        return float(np.quantile(self.waits, share))


class Pools(Ours):
    """The dispatcher and a worker for each queue, with so many children; None: as many as `--autoscale` wants."""

    children: Mapping[str, int | None]

    def starts(self) -> list[Program]:
        python = self.worker.command[0]
        dispatcher = replace(
            self.programs["dispatcher"], command=[python, "-m", "bench.strategies_worker"]
        )
        return [dispatcher, *(self._pool(queue) for queue in self.children)]

    def _pool(self, queue: str) -> Program:
        children = self.children[queue]
        made = self.product.worker(f"worker-{queue}", queue, children or 1)
        words = [
            word.replace("workers.celery_app", "bench.strategies_worker") for word in made.command
        ]
        more = [f"--autoscale={MOST[queue]},1"] if children is None else []
        return replace(made, command=[*words, *more])


class Children(threading.Thread):
    """Counts the workers' children several times a second."""

    def __init__(self, workers: Sequence[psutil.Process]) -> None:
        super().__init__(name="children", daemon=True)
        self._workers = workers
        self._over = threading.Event()
        self.seconds = 0.0

    def run(self) -> None:
        before = time.monotonic()
        while not self._over.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            self.seconds += (now - before) * sum(len(one.children()) for one in self._workers)
            before = now

    def end(self) -> float:
        """Worker-seconds."""
        self._over.set()
        self.join()
        return self.seconds


def run() -> Result:
    day = make_day(TRAFFIC, JOBS, seed=SEED)
    postgres.SETTINGS["max_connections"] = "250"
    with servers() as (system, engine):
        os.environ.update(SCALING)
        stage = Stage(system, engine, day)
        lag_driven = stage.outcome(dict.fromkeys(QUEUES))
        children = max(len(QUEUES), round(lag_driven.worker_seconds / SECONDS))
        shares = divided(children, [float(day.durations[day.queue == n].sum()) for n in range(3)])
        outcomes = {
            "one static queue": stage.outcome({"default": children}),
            "static queues": stage.outcome(dict(zip(QUEUES, shares, strict=True))),
            "lag-driven pools": lag_driven,
        }
    facts = {name: facts_of(one) for name, one in outcomes.items()}
    show(facts)
    static = outcomes["one static queue"].percentile(0.99) * 1000
    return Result(
        name="strategies",
        unit="ms of p99 saved",
        goal=0.8,
        baseline_is="p99 of one static queue with the same worker-seconds",
        runs=[(static - lag_driven.percentile(0.99) * 1000, static)],
        notes={"jobs": JOBS, "seconds": SECONDS, "static_children": shares, **facts},
    )


class Stage:
    """Where each strategy is played, one after the other, on an empty ledger."""

    def __init__(self, system: LocalSystem, engine: Engine, day: Day) -> None:
        self._system = system
        self._engine = engine
        self._day = day
        self._moments = day.arrivals * (SECONDS / DAY)

    def outcome(self, children: Mapping[str, int | None]) -> Outcome:
        """With a worker for each of these queues; one that is alone has all jobs."""
        with self._engine.begin() as tx:
            tx.execute(text(f"TRUNCATE {TABLES}"))
        side = Pools(self._system, self._engine, SCALING)
        side.children = children
        with running(side):
            workers = [one for name, one in side.processes.items() if name.startswith("worker")]
            counting = Children(workers)
            counting.start()
            late = self._put(alone=len(children) == 1)
            worker_seconds = counting.end()
            assert until(lambda: self._left() == 0, seconds=120), "jobs are left"
        waits, recoveries = self._waits()
        return Outcome(waits, recoveries, worker_seconds, late)

    def _put(self, *, alone: bool) -> float:
        """As they come: each in a commit of its own, at its moment."""
        from bench.strategies_worker import Long, Middle, Mixed, Short

        kinds = (Mixed, Mixed, Mixed) if alone else (Short, Middle, Long)
        tenants = [new_id() for _ in range(int(self._day.tenant.max()) + 1)]
        late, began = 0.0, time.monotonic()
        for number, moment in enumerate(self._moments.tolist()):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            late = max(late, time.monotonic() - began - moment)
            job = kinds[self._day.queue[number]](seconds=float(self._day.durations[number]))
            with self._engine.begin() as tx:
                enqueue(tx, tenants[self._day.tenant[number]], job)
        return late

    def _left(self) -> int:
        with self._engine.connect() as tx:
            return int(tx.execute(_LEFT).scalar_one())

    def _waits(self) -> tuple[Waits, list[float]]:
        """Of all jobs in their order; and of each surge, how long after its end the last queue was over it."""
        with self._engine.connect() as tx:
            waits = np.array(tx.execute(_WAITS).scalars().all())
        assert len(waits) == len(self._moments), "each job has begun once"
        ends = (self._day.bursts + self._day.burst_seconds) * (SECONDS / DAY)
        back = np.zeros(len(ends))
        for number in range(len(QUEUES)):
            chosen = self._day.queue == number
            fine = self._moments[chosen][waits[chosen] <= FINE_SECONDS]
            moments = np.append(fine, SECONDS)[np.searchsorted(fine, ends)]
            back = np.maximum(back, moments - ends)
        return waits, [round(float(one), 1) for one in np.maximum(back, 0)]


def facts_of(outcome: Outcome) -> dict[str, Any]:
    return {
        "p50_ms": round(outcome.percentile(0.5) * 1000, 1),
        "p99_ms": round(outcome.percentile(0.99) * 1000, 1),
        "recovery_s": outcome.recoveries,
        "worker_seconds": round(outcome.worker_seconds),
        "enqueued_late_ms": round(outcome.late * 1000),
    }


def show(facts: dict[str, dict[str, Any]]) -> None:
    columns = list(next(iter(facts.values())))
    table = Table("", *columns)
    for name, row in facts.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    Console(width=140).print(table)
