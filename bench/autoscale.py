"""A million jobs a day: one static queue, static shards, and pools that follow the lag, simulated.

The lag-driven run comes first; the static ones then get the same worker-seconds, as whole workers. The ratio
is the share of the static queue's p99 wait that is saved. Every traffic model is reported, with what one
static queue would cost for the same p99; the goal is set for the first.
"""

import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.scaling.policy import ScalingPolicy
from bench.autoscale_pools import Outcome, following, one_queue, sharded
from bench.autoscale_traffic import DAY, MODELS, Day, Traffic, make_day
from bench.report import Result

JOBS = 1_000_000
SEEDS = (1, 2, 3)
POLICY = ScalingPolicy()
MOST_WORKERS = 2_000


def run() -> Result:
    saved: list[tuple[float, float]] = []
    notes: dict[str, Any] = {}
    for model in MODELS:
        for seed in SEEDS if model is MODELS[0] else SEEDS[:1]:
            began = time.perf_counter()
            day = make_day(model, JOBS, seed=seed)
            outcomes = compare(day)
            facts = {name: facts_of(one, day) for name, one in outcomes.items()}
            if seed == SEEDS[0]:
                saves, static = saved_p99(outcomes)
                notes[model.name] = {"saved": round(saves / static, 3) if static else None, **facts}
                show(model, facts, time.perf_counter() - began)
            if model is MODELS[0]:
                saved.append(saved_p99(outcomes))
    return Result(
        name="autoscale",
        unit="ms of p99 saved",
        goal=0.97,
        baseline_is="p99 of one static queue with the same worker-seconds",
        runs=saved,
        notes=notes,
    )


def compare(day: Day, policy: ScalingPolicy = POLICY) -> dict[str, Outcome]:
    """The three strategies on one day, and one queue with as many workers as the lag-driven p99 takes."""
    lag_driven = following(day, policy)
    workers = round(lag_driven.worker_seconds / DAY)
    return {
        "one static queue": one_queue(day, workers),
        "static shards": sharded(day, workers),
        "lag-driven pools": lag_driven,
        "static, same p99": one_queue(day, enough(day, lag_driven.percentile(0.99))),
    }


def enough(day: Day, p99: float) -> int:
    """The fewest workers of one queue with such a p99, or a little less."""
    low, high = 1, MOST_WORKERS
    while low < high:
        middle = (low + high) // 2
        if one_queue(day, middle).percentile(0.99) <= max(p99, 0.001):
            high = middle
        else:
            low = middle + 1
    return low


def saved_p99(outcomes: dict[str, Outcome]) -> tuple[float, float]:
    """In ms: by how much the lag-driven p99 is lower than the static queue's, and the latter."""
    static = outcomes["one static queue"].percentile(0.99) * 1000
    ours = outcomes["lag-driven pools"].percentile(0.99) * 1000
    return static - ours, static


def facts_of(outcome: Outcome, day: Day) -> dict[str, float | None]:
    """Waits in ms, recovery in seconds: the median burst's and the worst one's."""
    back = sorted(outcome.recoveries)
    urgent = outcome.waits[day.queue == 0]
    return {
        "p50_ms": round(outcome.percentile(0.5) * 1000, 1),
        "p99_ms": round(outcome.percentile(0.99) * 1000, 1),
        "urgent_p99_ms": round(float(np.quantile(urgent, 0.99)) * 1000, 1),
        "recovery_s": round(back[len(back) // 2], 1) if back else None,
        "worst_recovery_s": round(back[-1], 1) if back else None,
        "worker_seconds": round(outcome.worker_seconds),
        "ceiling_per_s": round(outcome.ceiling_workers / float(day.durations.mean())),
    }


def show(model: Traffic, facts: dict[str, dict[str, float | None]], took: float) -> None:
    columns = list(next(iter(facts.values())))
    table = Table("", *columns, title=f"{model.name} ({took:.0f} s)")
    for name, row in facts.items():
        table.add_row(name, *("-" if row[c] is None else f"{row[c]:,}" for c in columns))
    Console(width=140).print(table)
