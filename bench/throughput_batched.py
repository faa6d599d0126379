"""Micro-batches: small jobs that travel several to a message, by the size of the batch, against stock Celery.

The jobs, the sides and the way of timing are `throughput`'s. Each size is a contract of its own; the ratio is the best
size's. `wait_ms` is what a single job takes from its commit to its end in an idle system: nothing is to wait for company.
"""

import random
import time
from collections.abc import Mapping
from statistics import median, quantiles

from rich.console import Console
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import enqueue
from bench.report import Result
from bench.servers import servers
from bench.throughput import FEWER_JOBS, JOBS, TABLES, Ours, Side, Stock, measure, running
from bench.throughput_row import CREATE
from infra.local.waiting import until

SIZES: Mapping[int, str] = {
    1: "InsertRowBrief",
    4: "InsertRowFew",
    16: "InsertRow",
    64: "InsertRowMany",
}
_AT = text("SELECT at FROM bench_rows WHERE id = :id")
ROUNDS = 4
SINGLES = 100


def run() -> Result:
    with servers() as (system, engine):
        with engine.begin() as tx:
            tx.execute(CREATE)
            tx.execute(text(f"TRUNCATE {TABLES}"))
        ours, stock = Ours(system, engine), Stock(system, engine)
        rates, baseline = _rounds(ours, stock)
        with running(ours):
            waits = {size: _singles(engine, kind) for size, kind in SIZES.items()}
    best = max(SIZES, key=lambda size: median(rates[size]))
    return Result(
        name="throughput_batched",
        unit="jobs/s",
        goal=3.0,
        baseline_is="stock Celery, acks late, the same insert",
        runs=list(zip(rates[best], baseline, strict=True)),
        notes={
            "best_size": best,
            "ratio_by_size": {
                size: round(median(a / b for a, b in zip(found, baseline, strict=True)), 2)
                for size, found in rates.items()
            },
            "wait_ms": waits,
        },
    )


def _rounds(ours: Ours, stock: Side) -> tuple[dict[int, list[float]], list[float]]:
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    baseline: list[float] = []
    with running(ours), running(stock):
        for side in (ours, stock):
            measure(side, FEWER_JOBS)
        for number in range(ROUNDS):
            baseline.append(measure(stock, JOBS)[0])
            for size, kind in SIZES.items():
                ours.kind = kind
                rates[size].append(measure(ours, JOBS)[0])
            found = ", ".join(f"{size}: {rates[size][-1]:,.0f}" for size in SIZES)
            Console().print(f"round {number + 1}: {found} against {baseline[-1]:,.0f} jobs/s")
    return rates, baseline


def _singles(engine: Engine, kind: str) -> dict[str, float]:
    """Milliseconds of one job at a time."""
    from bench import throughput_ours

    contract = getattr(throughput_ours, kind)
    taken = []
    for _ in range(SINGLES):
        time.sleep(random.uniform(0, 0.05))
        row_id = new_id()
        with engine.begin() as tx:
            enqueue(tx, new_id(), contract(row_id=row_id, name="a row"))
        with engine.connect() as tx:
            began = tx.execute(text("SELECT clock_timestamp()")).scalar_one()

        def there(row_id: object = row_id) -> bool:
            with engine.connect() as tx:
                return tx.execute(_AT, {"id": row_id}).one_or_none() is not None

        assert until(there, seconds=30), "a job isn't done"
        with engine.connect() as tx:
            ended = tx.execute(_AT, {"id": row_id}).scalar_one()
        taken.append((ended - began).total_seconds() * 1000)
    return {"p50": round(median(taken), 1), "p99": round(quantiles(taken, n=100)[-1], 1)}
