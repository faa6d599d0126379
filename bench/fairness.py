"""One job of a tenant behind a hundred thousand of another one, against the same job on an idle system.

Dispatcher, broker and a worker of two processes are the product's own. Every job takes a tenth of a second. A
newcomer is a tenant of its own each time, and comes at any moment; its time is from its enqueue to its end,
by the database's clock. Of the flood only what the workers get done meanwhile is done.
"""

import random
import time
from dataclasses import replace
from statistics import median, quantiles
from uuid import UUID

from rich.console import Console
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from bench.report import Result
from bench.servers import servers
from bench.throughput import Ours, running
from infra.local.program import Program

FLOOD = 100_000
STEP = 5_000
NEWCOMERS = 15
ROUNDS = 2


class Slowly(Ours):
    """The product, and one kind of job that takes its time."""

    def starts(self) -> list[Program]:
        words = [
            word.replace("workers.celery_app", "bench.fairness_ours")
            for word in self.worker.command
        ]
        return [replace(self.worker, command=words), self.programs["dispatcher"]]


def run() -> Result:
    with servers() as (system, engine):
        with engine.begin() as tx:
            tx.execute(text("TRUNCATE jobs, job_history, outbox, in_flight"))
        with running(Slowly(system, engine)):
            _newcomers(engine, 3)
            runs, worst = _rounds(engine)
    return Result(
        name="fairness",
        unit="1/s",
        goal=0.5,
        baseline_is="the same job on an idle system",
        runs=runs,
        notes={"flood": FLOOD, "newcomers": NEWCOMERS, "seconds_at_p90": worst},
    )


def _rounds(engine: Engine) -> tuple[list[tuple[float, float]], dict[str, float]]:
    """What a newcomer has in the median, as its inverse, disturbed and not."""
    runs, all_disturbed, all_idle = [], [], []
    for number in range(ROUNDS):
        idle = _newcomers(engine, NEWCOMERS)
        _flood(engine)
        disturbed = _newcomers(engine, NEWCOMERS)
        _end_flood(engine)
        Console().print(
            f"round {number + 1}: {median(disturbed):.3f} s against {median(idle):.3f} s"
        )
        runs.append((1 / median(disturbed), 1 / median(idle)))
        all_disturbed += disturbed
        all_idle += idle
    worst = {
        "disturbed": round(quantiles(all_disturbed, n=10)[-1], 3),
        "idle": round(quantiles(all_idle, n=10)[-1], 3),
    }
    return runs, worst


def _flood(engine: Engine) -> None:
    from bench.fairness_ours import Slow

    tenant = new_id()
    for _ in range(FLOOD // STEP):
        with engine.begin() as tx:
            enqueue_many(tx, tenant, [NewJob(job=Slow())] * STEP)


def _newcomers(engine: Engine, number: int) -> list[float]:
    """Seconds of so many jobs, one after the other, a tenant each."""
    from bench.fairness_ours import Slow

    taken = []
    for _ in range(number):
        time.sleep(random.uniform(0, 0.2))
        with engine.begin() as tx:
            job_id = enqueue(tx, new_id(), Slow()).id
        taken.append(_seconds(engine, job_id))
    return taken


def _seconds(engine: Engine, job_id: UUID) -> float:
    query = text("""
        SELECT extract(epoch FROM finished_at - run_at)::float FROM jobs
        WHERE id = :id AND state = 'succeeded'
    """)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with engine.connect() as tx:
            seconds: float | None = tx.execute(query, {"id": job_id}).scalar_one_or_none()
        if seconds is not None:
            return seconds
        time.sleep(0.02)
    raise TimeoutError(f"job {job_id} hasn't ended in a minute")


def _end_flood(engine: Engine) -> None:
    """What has not been sent is gone, and what has been sent ends."""
    with engine.begin() as tx:
        tx.execute(text("LOCK outbox"))
        tx.execute(text("DELETE FROM jobs WHERE state = 'scheduled'"))
        tx.execute(text("TRUNCATE outbox"))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with engine.connect() as tx:
            if not tx.execute(text("SELECT count(*) FROM in_flight")).scalar_one():
                return
        time.sleep(0.1)
    raise TimeoutError("jobs are in flight after a minute")
