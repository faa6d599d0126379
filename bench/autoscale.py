"""A million jobs a day: one static queue, static shards, and pools that follow the lag, simulated.

The lag-driven runs come first: Celery's workers with children that come and go, and containers. The static ones then
get the same worker-seconds, as whole workers. The ratio is the share of the static queue's p99 wait that the children
save. Every traffic model is reported, with what one static queue would cost for the same p99; the goal is set for the
first.
"""

import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.autoscale_pools import Outcome, following, one_queue, sharded
from bench.autoscale_scalers import CONTAINERS, Scaler, processes
from bench.autoscale_traffic import DAY, MODELS, QUOTED, Day, Traffic, make_day
from bench.report import Result

JOBS = 1_000_000
SEEDS = (1, 2, 3)
MOST_WORKERS = 2_000
QUOTED_WORKERS = 50
"""500 jobs/s, with jobs of 0.1 s."""
QUOTED_FLOOR = 16
"""Children of each pool, all day: what is left of 50 for the bursts is not used up."""
STATIC_FOR = {"processes": "one static queue", "containers": "one static queue, as containers"}
"""Means -> which static queue costs as much."""


def run() -> Result:
    saved: list[tuple[float, float]] = []
    notes: dict[str, Any] = {}
    for model in MODELS:
        shares: dict[str, list[float | None]] = {}
        for seed in SEEDS:
            began = time.perf_counter()
            day = make_day(model, JOBS, seed=seed)
            outcomes = compare(day)
            if model is MODELS[0]:
                saved.append(saved_p99(outcomes, "processes"))
            for means in STATIC_FOR:
                saves, static = saved_p99(outcomes, means)
                shares.setdefault(means, []).append(round(saves / static, 3) if static else None)
            if seed == SEEDS[0]:
                wait = outcomes["lag-driven, processes"].percentile(0.99)
                outcomes["static, same p99"] = one_queue(day, enough(day, wait))
                facts = {name: facts_of(one, day) for name, one in outcomes.items()}
                show(model, facts, time.perf_counter() - began)
        notes[model.name] = {"saved": shares, **facts}
    notes[QUOTED.name] = quoted()
    return Result(
        name="autoscale",
        unit="ms of p99 saved",
        goal=0.97,
        baseline_is="p99 of one static queue with the same worker-seconds",
        runs=saved,
        notes=notes,
    )


def compare(day: Day, scaler: Scaler | None = None) -> dict[str, Outcome]:
    """The strategies on one day; each static one is beside the lag-driven one that it costs as much as."""
    children, containers = following(day, scaler or processes()), following(day, CONTAINERS)
    workers = round(children.worker_seconds / DAY)
    return {
        "one static queue": one_queue(day, workers),
        "static shards": sharded(day, workers),
        "lag-driven, processes": children,
        "lag-driven, containers": containers,
        "one static queue, as containers": one_queue(day, round(containers.worker_seconds / DAY)),
    }


def quoted() -> dict[str, Any]:
    """The quoted table's case as we read it: 50 static workers, and children with two floors."""
    saved: dict[str, list[float]] = {}
    for seed in SEEDS:
        day = make_day(QUOTED, JOBS, seed=seed)
        outcomes = {
            "one static queue": one_queue(day, QUOTED_WORKERS),
            "lag-driven, processes": following(day, processes()),
            "lag-driven, processes, higher floor": following(day, processes(least=QUOTED_FLOOR)),
        }
        static, *others = (one.percentile(0.99) for one in outcomes.values())
        for name, ours in zip(list(outcomes)[1:], others, strict=True):
            saved.setdefault(name, []).append(round(1 - ours / static, 3))
        if seed == SEEDS[0]:
            facts = {name: facts_of(one, day) for name, one in outcomes.items()}
    show(QUOTED, facts, 0)
    return {"saved": saved, **facts}


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


def saved_p99(outcomes: dict[str, Outcome], means: str) -> tuple[float, float]:
    """In ms: by how much the lag-driven p99 is lower than that of one static queue at its cost, and the latter."""
    static = outcomes[STATIC_FOR[means]].percentile(0.99) * 1000
    return static - outcomes[f"lag-driven, {means}"].percentile(0.99) * 1000, static


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
        "most_workers": outcome.most_workers,
        "ceiling_per_s": round(outcome.ceiling_workers / float(day.durations.mean())),
    }


def show(model: Traffic, facts: dict[str, dict[str, float | None]], took: float) -> None:
    columns = list(next(iter(facts.values())))
    table = Table("", *columns, title=f"{model.name} ({took:.0f} s)")
    for name, row in facts.items():
        table.add_row(name, *("-" if row[c] is None else f"{row[c]:,}" for c in columns))
    Console(width=140).print(table)
