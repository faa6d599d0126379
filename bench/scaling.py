"""From one worker process to eight: jobs that wait for somebody else's answer, a tenth of a second each.

Dispatcher, broker and pool are the product's own; only the pool's size differs. The jobs are in the outbox before
any is sent; the time is from the first start to the last end, by the database's clock. The
ratio is the share of eight times the rate of one.
"""

from dataclasses import replace

from rich.console import Console
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import NewJob, enqueue_many
from bench.report import Result
from bench.servers import servers
from bench.throughput import Environment, Ours, running
from infra.local.product import Product
from infra.local.program import Program
from infra.local.system import LocalSystem
from infra.local.waiting import until

SIZES = (1, 2, 4, 8)
SECONDS_EACH = 10
ROUNDS = 3


class Pool(Ours):
    """A dispatcher, and one pool of so many children."""

    def __init__(
        self, system: LocalSystem, engine: Engine, environment: Environment, size: int
    ) -> None:
        super().__init__(system, engine, environment)
        product = Product(
            layout=system.layout,
            settings={**system.settings, "MILLRACE_LOG_JSON": "true", **environment},
            web_port=0,
            flower_port=0,
            flower_password="",
            metrics_ports={},
        )
        self.worker = product.worker("worker-default", "default", size)

    def starts(self) -> list[Program]:
        words = [
            word.replace("workers.celery_app", "bench.fairness_ours")
            for word in self.worker.command
        ]
        return [replace(self.worker, command=words), self.programs["dispatcher"]]


def run() -> Result:
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    with servers() as (system, engine):
        for _ in range(ROUNDS):
            for size in SIZES:
                with running(Pool(system, engine, {}, size)):
                    _rate(engine, size * 2)
                    rates[size].append(_rate(engine, size * SECONDS_EACH * 9))
            Console().print(", ".join(f"{size}: {rates[size][-1]:.1f} jobs/s" for size in SIZES))
    most = SIZES[-1]
    return Result(
        name="scaling",
        unit="jobs/s",
        goal=0.9,
        baseline_is=f"{most} times one process",
        runs=[(many, most * one) for many, one in zip(rates[most], rates[SIZES[0]], strict=True)],
        notes={
            "jobs_per_second": {
                size: [round(rate, 1) for rate in found] for size, found in rates.items()
            }
        },
    )


def _rate(engine: Engine, jobs: int) -> float:
    """Jobs per second; they are there all at once."""
    from bench.fairness_ours import Slow

    tenant = new_id()
    with engine.begin() as tx:
        enqueue_many(tx, tenant, [NewJob(job=Slow()) for _ in range(jobs)])

    def asked(what: str) -> float:
        with engine.connect() as tx:
            query = text(f"SELECT {what} FROM jobs WHERE tenant_id = :tenant")
            return float(tx.execute(query, {"tenant": tenant}).scalar_one())

    done = "count(*) FILTER (WHERE state = 'succeeded')"
    assert until(lambda: asked(done) == jobs, seconds=300), "jobs are left"
    return jobs / asked("extract(epoch FROM max(finished_at) - min(started_at))")
