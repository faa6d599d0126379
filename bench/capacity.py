"""The capacity planner's waits against a simulation of every job, and against real queues and children.

Each run is one case: the smaller of the two mean waits over the larger. The real runs are twenty seconds each (BENCH_SECONDS) of
sleeping jobs on a worker with two children: their waits beside those that the simulation finds for the same
arrivals and durations, and beside the model's for what `millrace capacity` measured. Both have what a job takes from its commit to its
start where a child is idle on top: it is no waiting for others. The model's figure is of the long run; a short one comes near it by chance alone.
"""

import os
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from app.capacity.measured import measure
from app.capacity.queueing import Load, queueing
from app.ledger.enqueue import enqueue
from bench.queue_simulation import lognormal, poisson, waits
from bench.report import Result
from bench.servers import servers
from bench.throughput import CHILDREN, Ours, running
from infra.local.program import Program
from infra.local.waiting import until

JOBS = 400_000
CASES = [
    (1, 0.7, 1.0),
    (4, 0.8, 1.0),
    (10, 0.85, 1.0),
    (4, 0.8, 3.0),
    (10, 0.85, 2.0),
    (8, 0.8, 0.3),
]
"""Servers, load, and variation of the durations: 1 is exponential, others are lognormal."""
REAL_SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
REAL_RUNS = {"jobs_of_200_ms": (7.0, 0.2), "jobs_of_50_ms": (31.0, 0.05)}
"""Jobs a second, and their mean duration in seconds."""

_WAITS = text("""
    SELECT extract(epoch FROM e.at)::float8 AS arrived,
           extract(epoch FROM c.at - e.at)::float8 AS waited,
           extract(epoch FROM s.at - c.at)::float8 AS lasted
    FROM job_history e
    JOIN job_history c ON c.job_id = e.job_id AND c.event = 'claim'
    JOIN job_history s ON s.job_id = e.job_id AND s.event = 'succeed'
    JOIN jobs j ON j.id = e.job_id
    WHERE e.event = 'enqueue' AND j.kind = 'bench.sleep' ORDER BY e.at
""")
_LEFT = text("SELECT count(*) FROM jobs WHERE kind = 'bench.sleep' AND state <> 'succeeded'")


class Sleeping(Ours):
    """The product with a kind of job that sleeps."""

    def starts(self) -> list[Program]:
        worker, _ = super().starts()
        words = [word.replace("throughput_ours", "capacity_worker") for word in worker.command]
        return [replace(worker, command=words), self.programs["dispatcher"]]


def run() -> Result:
    runs = [_case(*case) for case in CASES]
    table = Table("servers", "load", "variation", "model, ms", "simulation, ms", "ratio")
    for (count, busy, scv), (model, simulated) in zip(CASES, runs, strict=True):
        ratio = f"{model / simulated:.2f}"
        table.add_row(
            str(count), f"{busy:.0%}", f"{scv:g}", f"{model:.0f}", f"{simulated:.0f}", ratio
        )
    Console().print(table)
    return Result(
        name="capacity",
        unit="ms of mean wait",
        goal=0.85,
        baseline_is="a simulation of every job; the smaller over the larger",
        runs=[(min(pair), max(pair)) for pair in runs],
        notes={"worst_ratio": round(min(min(p) / max(p) for p in runs), 3), "real_runs": _real()},
    )


def _case(servers: int, busy: float, scv: float) -> tuple[float, float]:
    """Mean waits in ms, of jobs of a second: the model's and the simulation's."""
    random = np.random.default_rng(7)
    arrivals = poisson(random, servers * busy, JOBS)
    durations = random.exponential(1, JOBS) if scv == 1 else lognormal(random, 1, scv, JOBS)
    load = Load(rate=servers * busy, mean=1, scv_durations=scv)
    simulated = waits(arrivals, durations, servers).mean()
    return queueing(load, servers).mean_wait * 1000, float(simulated) * 1000


def _real() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with servers() as (system, engine):
        for name, (rate, mean) in REAL_RUNS.items():
            with engine.begin() as tx:
                tx.execute(text("TRUNCATE jobs, job_history, outbox, in_flight"))
            with running(Sleeping(system, engine)):
                _put(engine, rate, mean)
                assert until(lambda: _left(engine) == 0, seconds=60), "jobs are left"
            found[name] = _facts(engine)
            Console().print(name, found[name])
    return found


def _put(engine: Engine, rate: float, mean: float) -> None:
    """As they come: each in a commit of its own, at its moment."""
    from bench.capacity_worker import Sleep

    random = np.random.default_rng(11)
    jobs = round(rate * REAL_SECONDS)
    moments, tenant = poisson(random, rate, jobs), uuid4()
    began = time.monotonic()
    for moment, seconds in zip(moments, random.exponential(mean, jobs), strict=True):
        time.sleep(max(0.0, began + float(moment) - time.monotonic()))
        with engine.begin() as tx:
            enqueue(tx, tenant, Sleep(seconds=float(seconds)))


def _left(engine: Engine) -> int:
    with engine.connect() as tx:
        return int(tx.execute(_LEFT).scalar_one())


def _facts(engine: Engine) -> dict[str, float]:
    with engine.begin() as tx:
        arrived, waited, lasted = (
            np.array(column) for column in zip(*tx.execute(_WAITS), strict=True)
        )
        demand = next(
            one for one in measure(tx, timedelta(minutes=10)).demands if one.pool == "default"
        )
    rate = len(arrived) / float(arrived[-1] - arrived[0])
    load = Load(rate=rate, mean=demand.load.mean, scv_durations=demand.load.scv_durations)
    simulated = waits(arrived - arrived[0], lasted + demand.overhead, CHILDREN)
    handed_over = float(np.median(waited[simulated == 0]))
    measured = float(waited.mean())
    found = {
        "simulation": float(simulated.mean()) + handed_over,
        "model": queueing(load, CHILDREN).mean_wait + handed_over,
    }
    return {
        "jobs": len(arrived),
        "busy": round(load.offered / CHILDREN, 3),
        "between_jobs_ms": round(demand.overhead * 1000, 1),
        "handed_over_ms": round(handed_over * 1000, 1),
        "measured_ms": round(measured * 1000, 1),
        **{f"{name}_ms": round(wait * 1000, 1) for name, wait in found.items()},
        **{
            f"ratio_to_the_{name}": round(min(measured, wait) / max(measured, wait), 3)
            for name, wait in found.items()
        },
    }
