"""What happens to a planned pool when the world changes and the pool does not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.capacity.durations import with_slower_tail
from app.capacity.plan import Demand, PoolPlan, Terms, plan_pool, too_much
from app.capacity.queueing import Queueing, drain_seconds, queueing

ARRIVALS = 2.0
TAIL = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The pool as planned under another load, or with fewer workers; and how many it would then need.

    `queueing` is None where no worker is left, `workers_needed` where they would be more than MOST_WORKERS.
    """

    question: str
    workers: int
    queueing: Queueing | None
    drain: float
    workers_needed: int | None


def what_ifs(pool: PoolPlan, terms: Terms) -> Sequence[WhatIf]:
    """The three questions that are asked of every pool."""
    demand = pool.demand
    twice = replace(demand, rate=demand.rate * ARRIVALS)
    slower = replace(demand, durations=with_slower_tail(demand.durations, TAIL))
    left = pool.workers - terms.concurrency
    return [
        _ask(f"arrivals x {ARRIVALS:g}", twice, pool.workers, pool.backlog, terms),
        _ask(f"p95 duration x {TAIL:g}", slower, pool.workers, pool.backlog, terms),
        _ask("one worker replica dies", demand, left, pool.backlog, terms),
    ]


def _ask(question: str, demand: Demand, workers: int, backlog: int, terms: Terms) -> WhatIf:
    return WhatIf(
        question=question,
        workers=workers,
        queueing=queueing(demand.load, workers) if workers else None,
        drain=drain_seconds(demand.load, workers, backlog),
        workers_needed=None if too_much(demand, terms) else plan_pool(demand, terms).workers,
    )
