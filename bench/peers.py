"""Throughput beside other job systems: small jobs, one row inserted each, timed as in `throughput`.

Every side has the same PostgreSQL with fsync on, two processes that run jobs, and its own durability on; those on
RabbitMQ have a quorum queue and publisher confirms and acknowledge late. In each round the sides run one after the
other, each alone: started, warmed up, measured, stopped. Each may do as well as it can: a peer is measured with one job
at a time in each process and with eight, and the better one counts; ours is the contract that small jobs have, and its
ratios with a message for each job stand beside it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from sqlalchemy import Engine, text

from bench.peers_catalog import EACH, MANY, OURS, SIDES, Make
from bench.peers_page import write_page
from bench.peers_servers import ensure_installed, redis_of
from bench.report import OUT, Result, print_table
from bench.servers import servers
from bench.throughput import JOBS, TABLES, Side, measure, running
from bench.throughput_row import CREATE

HOME = Path(".local/bench-peers")
"""Of its own, because the peers make tables and queues."""
ROUNDS = 3
WARMING = 300
Key = tuple[str, int]
"""A side, and how many jobs each of its processes runs at a time."""
Rates = Mapping[Key, Sequence[float]]


def run() -> Result:
    """Measures, and writes docs/peers.md."""
    result = compare(JOBS, ROUNDS)
    write_page(result.notes["sides"], jobs=JOBS, rounds=ROUNDS)
    return result


def compare(jobs: int, rounds: int) -> Result:
    ensure_installed()
    with servers(HOME, redis_of) as (system, engine):
        with engine.begin() as tx:
            tx.execute(CREATE)
        sides = {key: make(system, engine) for key, make in _made().items()}
        rates, costs = _rounds(sides, engine, jobs, rounds)
    return _result(rates, costs, jobs)


def _made() -> dict[Key, Make]:
    found: dict[Key, Make] = {}
    for name, entry in SIDES.items():
        found[name, 1] = entry.one
        if entry.many is not None:
            found[name, MANY] = entry.many
    return found


def _rounds(
    sides: Mapping[Key, Side], engine: Engine, jobs: int, rounds: int
) -> tuple[dict[Key, list[float]], dict[Key, list[int]]]:
    """Each side's jobs per second, and microseconds of CPU per job of all its parts, in each round."""
    rates: dict[Key, list[float]] = {key: [] for key in sides}
    costs: dict[Key, list[int]] = {key: [] for key in sides}
    for number in range(rounds):
        for key in sides if number % 2 == 0 else reversed(list(sides)):
            with engine.begin() as tx:
                tx.execute(text(f"TRUNCATE {TABLES}"))
            with running(sides[key]):
                measure(sides[key], WARMING)
                rate, cost = measure(sides[key], jobs)
            rates[key].append(rate)
            costs[key].append(sum(cost.values()))
            name, slots = key
            Console().print(
                f"round {number + 1}: {SIDES[name].title}, 2 x {slots}: {rate:,.0f} jobs/s"
            )
    return rates, costs


def best_slots(rates: Rates, name: str) -> Key:
    """How the side is faster."""
    return max((key for key in rates if key[0] == name), key=lambda key: median(rates[key]))


def summary(rates: Rates, costs: Mapping[Key, Sequence[int]]) -> dict[str, dict[str, Any]]:
    """By side, at its best: medians of the rounds, and of their ratios of our rates to its."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for name, _ in rates):
        best = best_slots(rates, name)
        found[name] = {
            "slots": best[1],
            "jobs_per_s": round(median(rates[best])),
            "jobs_per_s_by_slots": {
                slots: round(median(some)) for (of, slots), some in rates.items() if of == name
            },
            "ours_is": _ratio(rates[OURS, 1], rates[best]),
            "message_each_is": _ratio(rates[EACH, 1], rates[best]),
            "cpu_us_per_job": round(median(costs[best])),
        }
    return found


def _ratio(ours: Sequence[float], its: Sequence[float]) -> float:
    return round(median(a / b for a, b in zip(ours, its, strict=True)), 2)


def _result(rates: Rates, costs: Mapping[Key, Sequence[int]], jobs: int) -> Result:
    sides = summary(rates, costs)
    recorded = [name for name in sides if SIDES[name].recorded]
    rival = max(recorded, key=lambda name: sides[name]["jobs_per_s"])
    best = rates[best_slots(rates, rival)]
    return Result(
        name="peers",
        unit="jobs/s",
        goal=1.0,
        baseline_is=f"{SIDES[rival].title}, the faster one of those whose jobs, states and retries are rows",
        runs=list(zip(rates[OURS, 1], best, strict=True)),
        notes={
            "jobs": jobs,
            "ratio_with_a_message_each": _ratio(rates[EACH, 1], best),
            "sides": sides,
        },
    )


def main(words: Sequence[str]) -> None:
    """`python -m bench.peers JOBS ROUNDS`: small figures, to see that it works; no page is written."""
    jobs, rounds = map(int, words)
    result = compare(jobs, rounds)
    result.write(Path(OUT))
    print_table([result])


if __name__ == "__main__":
    main(sys.argv[1:])
