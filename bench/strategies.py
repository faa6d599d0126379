"""The three strategies for real: one static queue, static queues, and pools that follow the lag, on this machine.

What `bench.autoscale` simulates runs here, in small: jobs that sleep come for 230 s, most of them in one surge
of half a minute, through outbox, dispatcher, RabbitMQ and Celery's prefork pools. The lag-driven pools (`celery worker
--autoscale`) come first; the static ones then get as many children as gives the same worker-seconds, rounded up. A
worker-second is a child process that is there for a second, while the traffic lasts; the pools' main processes, one or
three, are not counted. A job waits from the moment at which it was to come, so that a late load generator counts as a
wait, until it is claimed. The ratio is the share of the static queue's p99 wait that is saved.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any
from uuid import UUID

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import NewJob, PostedJob, enqueue_posted
from bench.autoscale_pools import divided
from bench.autoscale_traffic import MIX, Day
from bench.queue_simulation import lognormal
from bench.report import Result
from bench.servers import servers
from bench.throughput import Ours, running
from infra.local import postgres
from infra.local.program import Program
from infra.local.system import LocalSystem
from infra.local.waiting import until

SECONDS = 230.0
SAMPLE_SECONDS = 0.5
CALM_RATE, SURGE_RATE = 3.0, 35.0
"""Jobs a second, all day and on top of it in the surge."""
SURGE_AT, SURGE_SECONDS = 60.0, 30.0
SHORTER = 2.0
"""Jobs are those of the simulation, half as long."""
TENANTS = 20
SEED = 1
QUEUES = ("high", "default", "low")
MOST = {"high": 10, "default": 24, "low": 36}
"""Children of the lag-driven pools; for as many connections as these may open, PostgreSQL gets room."""
FINE_SECONDS = 0.25
"""A pool is over a surge when who comes next waits no longer than this."""
SCALING = {
    "MILLRACE_PROCESSES": "web=1 dispatcher=1 "
    + " ".join(f"{queue}=1x{most}" for queue, most in MOST.items()),
    "MILLRACE_DB_POOL_SIZE": "1",
    "MILLRACE_SCALING_POLL_SECONDS": "1",
    "MILLRACE_SCALING_DRAIN_SECONDS": "5",
    "MILLRACE_SCALING_MAX_LAG_SECONDS": "2.5",
    "MILLRACE_SCALING_DOWN_SECONDS": "15",
}
"""Half of the product's defaults, as the surge is half of the simulation's minute. Down an eighth: what is calm between
two surges lasts minutes here, an hour there.
"""
LATE_SECONDS = 1.0
"""A load generator that is later than this has measured itself."""
Waits = NDArray[np.float64]
_CLAIMED = text("""
    SELECT c.job_id, extract(epoch FROM min(c.at))::float8 AS at
    FROM job_history c JOIN jobs j ON j.id = c.job_id
    WHERE c.event = 'claim' AND j.kind LIKE 'bench.%' GROUP BY c.job_id
""")
# What a schedule posts meanwhile is nobody's.
_LEFT = text("SELECT count(*) FROM jobs WHERE state <> 'succeeded' AND kind LIKE 'bench.%'")
TABLES = "jobs, job_history, outbox, in_flight, backlog, processes"


@dataclass(frozen=True, slots=True)
class Outcome:
    """In seconds. `recovery` is how long after the surge the last queue was over it; `late` how long after its moment
    a job was enqueued, at most; `most` children were there at once.
    """

    waits: Waits
    recovery: float
    worker_seconds: float
    most: int
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
        self.most = 0

    def run(self) -> None:
        before = time.monotonic()
        while not self._over.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            there = sum(len(one.children()) for one in self._workers)
            self.seconds += (now - before) * there
            self.most = max(self.most, there)
            before = now

    def end(self) -> None:
        self._over.set()
        self.join()


def small_day(seed: int) -> Day:
    """Calm, one surge of one tenant's, calm again."""
    random = np.random.default_rng(seed)
    calm, surge = round(CALM_RATE * SECONDS), round(SURGE_RATE * SURGE_SECONDS)
    moments = random.uniform(0, SECONDS, calm), random.uniform(0, SURGE_SECONDS, surge) + SURGE_AT
    owners = random.integers(TENANTS, size=calm), np.zeros(surge, dtype=np.int64)
    arrivals = np.concatenate(moments)
    order = np.argsort(arrivals)
    queue = random.choice(len(MIX), len(order), p=[kind.share for kind in MIX])
    durations = np.zeros(len(order))
    for number, kind in enumerate(MIX):
        chosen = queue == number
        durations[chosen] = lognormal(random, kind.mean / SHORTER, kind.scv, int(chosen.sum()))
    return Day(
        arrivals=arrivals[order],
        durations=durations,
        queue=queue,
        tenant=np.concatenate(owners)[order],
        bursts=np.array([SURGE_AT]),
        burst_seconds=SURGE_SECONDS,
    )


def run() -> Result:
    day = small_day(SEED)
    postgres.SETTINGS["max_connections"] = "400"
    with servers() as (system, engine):
        os.environ.update(SCALING)
        stage = Stage(system, engine, day)
        lag_driven = stage.outcome(dict.fromkeys(QUEUES))
        children = max(len(QUEUES), ceil(lag_driven.worker_seconds / SECONDS))
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
        notes={
            "jobs": len(day.arrivals),
            "seconds": SECONDS,
            "mean_per_s": round(len(day.arrivals) / SECONDS, 1),
            "peak_per_s": CALM_RATE + SURGE_RATE,
            "static_children": shares,
            "broken": [name for name, one in outcomes.items() if one.late > LATE_SECONDS],
            **facts,
        },
    )


class Stage:
    """Where each strategy is played, one after the other, on an empty ledger."""

    def __init__(self, system: LocalSystem, engine: Engine, day: Day) -> None:
        self._system = system
        self._engine = engine
        self._day = day

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
            planned, late = self._put(alone=len(children) == 1)
            counting.end()
            assert until(lambda: self._left() == 0, seconds=120), "jobs are left"
        waits = self._waits(planned)
        return Outcome(waits, self._recovery(waits), counting.seconds, counting.most, late)

    def _put(self, *, alone: bool) -> tuple[dict[UUID, float], float]:
        """As they come, those that are due together in one commit. Job -> when it was to come (Unix time); and how
        late the latest was.
        """
        from bench.strategies_worker import Long, Middle, Mixed, Short

        kinds = (Mixed, Mixed, Mixed) if alone else (Short, Middle, Long)
        tenants = [new_id() for _ in range(TENANTS)]
        facts = zip(self._day.tenant, self._day.queue, self._day.durations, strict=True)
        jobs = [
            PostedJob(tenant_id=tenants[whose], new=NewJob(job=kinds[queue](seconds=float(long))))
            for whose, queue, long in facts
        ]
        planned: dict[UUID, float] = {}
        late, moments = 0.0, self._day.arrivals + time.time()
        while (done := len(planned)) < len(jobs):
            time.sleep(max(0.0, moments[done] - time.time()))
            due = max(done + 1, int(np.searchsorted(moments, time.time(), side="right")))
            with self._engine.begin() as tx:
                ids = enqueue_posted(tx, jobs[done:due])
            late = max(late, time.time() - moments[done])
            planned.update(zip(ids, moments[done:due].tolist(), strict=True))  # type: ignore[arg-type]
        return planned, late

    def _left(self) -> int:
        with self._engine.connect() as tx:
            return int(tx.execute(_LEFT).scalar_one())

    def _waits(self, planned: Mapping[UUID, float]) -> Waits:
        """Of all jobs in their order."""
        with self._engine.connect() as tx:
            claimed = {row.job_id: row.at for row in tx.execute(_CLAIMED)}
        assert claimed.keys() == planned.keys(), "each job has begun"
        return np.array([claimed[job] - moment for job, moment in planned.items()])

    def _recovery(self, waits: Waits) -> float:
        end, last = SURGE_AT + SURGE_SECONDS, 0.0
        for number in range(len(QUEUES)):
            chosen = self._day.queue == number
            moments = self._day.arrivals[chosen][waits[chosen] <= FINE_SECONDS]
            after = moments[moments > end]
            last = max(last, float(after[0] if len(after) else SECONDS) - end)
        return last


def facts_of(outcome: Outcome) -> dict[str, Any]:
    return {
        "p50_ms": round(outcome.percentile(0.5) * 1000, 1),
        "p99_ms": round(outcome.percentile(0.99) * 1000, 1),
        "recovery_s": round(outcome.recovery, 1),
        "worker_seconds": round(outcome.worker_seconds),
        "most_children": outcome.most,
        "enqueued_late_ms": round(outcome.late * 1000),
    }


def show(facts: dict[str, dict[str, Any]]) -> None:
    columns = list(next(iter(facts.values())))
    table = Table("", *columns)
    for name, row in facts.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    Console(width=140).print(table)
