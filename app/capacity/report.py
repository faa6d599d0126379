"""A plan in words and figures, for a person, and as plain values, for a machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from app import connections
from app.capacity.measured import Measured
from app.capacity.plan import MOST_WORKERS, Plan, PoolPlan, Terms
from app.capacity.queueing import BURSTY, Queueing
from app.capacity.what_if import WhatIf, what_ifs
from app.plurals import counted

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def as_facts(
    plan: Plan, kinds: Sequence[Measured] = (), unended: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """JSON's own types; what is infinite is null. The keys are for machines, and stay."""
    return {
        "terms": asdict(plan.terms),
        "pools": [_pool_facts(pool, plan.terms) for pool in plan.pools],
        "connections": {
            "postgres": plan.postgres,
            "postgres_server": plan.postgres_server,
            "postgres_max": plan.terms.max_connections,
            "postgres_room": plan.postgres_room,
            "rabbitmq": plan.rabbitmq,
            "lines": [asdict(line) for line in plan.lines],
        },
        "memory_mib": sum(pool.memory_mib for pool in plan.pools),
        "cost_a_month": _total_cost(plan),
        "kinds": [asdict(kind) for kind in kinds],
        "unended": dict(unended or {}),
    }


def _pool_facts(pool: PoolPlan, terms: Terms) -> dict[str, Any]:
    demand = pool.demand
    return {
        "pool": demand.pool,
        "source": demand.source,
        "rate": demand.rate,
        "mean_rate": demand.mean_rate,
        "durations": asdict(demand.durations),
        "overhead": demand.overhead,
        "scv_arrivals": demand.scv_arrivals,
        "workers_by_formula": pool.workers_by_formula,
        "workers_for_wait": pool.workers_for_wait,
        "workers": pool.workers,
        "replicas": pool.replicas,
        **_queue_facts(pool.queueing),
        "backlog": pool.backlog,
        "drain_seconds": finite(pool.drain),
        "memory_mib": pool.memory_mib,
        "cost_a_month": pool.cost_a_month,
        "what_if": [_what_if_facts(one) for one in what_ifs(pool, terms)],
    }


def _queue_facts(queue: Queueing) -> dict[str, Any]:
    return {
        "stable": queue.stable,
        "model_holds": queue.holds,
        "utilisation": queue.utilisation,
        "delayed": queue.delayed,
        "growth_per_second": queue.growth,
        "wait": {
            "mean": finite(queue.mean_wait),
            **{name: finite(queue.wait(share)) for name, share in PERCENTILES.items()},
        },
    }


def _what_if_facts(one: WhatIf) -> dict[str, Any]:
    return {
        "question": one.question,
        "workers": one.workers,
        "workers_needed": one.workers_needed,
        "drain_seconds": finite(one.drain),
        **(_queue_facts(one.queueing) if one.queueing else {"stable": False}),
    }


def _total_cost(plan: Plan) -> float | None:
    costs = [pool.cost_a_month for pool in plan.pools]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def finite(value: float) -> float | None:
    """None where it is not."""
    return value if isfinite(value) else None


def lines(
    plan: Plan, kinds: Sequence[Measured] = (), unended: Mapping[str, int] | None = None
) -> Iterator[str]:
    """For a terminal: each figure with where it comes from. `unended` are queues whose jobs nobody has done."""
    for pool in plan.pools:
        yield from _pool_lines(pool, plan.terms)
        mine = [kind for kind in kinds if kind.queue == pool.demand.pool]
        yield from (_kind_line(kind) for kind in mine)
        yield ""
    for queue, jobs in (unended or {}).items():
        yield (
            f"{queue}: NO PLAN. {counted(jobs, 'job was', 'jobs were')} dispatched in the period and not one attempt has ended: "
            "do its workers run? Else give its load: --rate, --mean."
        )
        yield ""
    yield from _shared_lines(plan)


def _pool_lines(pool: PoolPlan, terms: Terms) -> Iterator[str]:
    demand, load, queue = pool.demand, pool.demand.load, pool.queueing
    lasting = demand.durations
    busiest = "" if demand.mean_rate is None else ", busiest hour"
    yield f"{demand.pool}: {counted(pool.replicas, 'replica')}, {counted(pool.workers, 'worker')} ({demand.source})"
    if demand.mean_rate is not None:
        yield f"  jobs            {demand.jobs:,} in the period, {demand.mean_rate:.3g}/s on average"
    yield f"  arrivals        {demand.rate:.4g}/s{busiest}, variation {demand.scv_arrivals:.2g}"
    yield (
        f"  duration        mean {seconds(lasting.mean)}, p50 {seconds(lasting.p50)}, "
        f"p95 {seconds(lasting.p95)}, variation {lasting.scv:.2g}"
    )
    if demand.overhead:
        yield f"  between jobs    {seconds(demand.overhead)} that a worker is busy, too"
    yield (
        f"  by formula      {pool.workers_by_formula} = {load.rate:.4g}/s x {seconds(load.mean)} / "
        f"{terms.utilisation:.0%} busy + {terms.headroom:.0%}"
    )
    if pool.workers_for_wait is not None:
        wanted = f"p95 of the wait at most {seconds(terms.wait_p95 or 0)}"
        yield f"  for the wait    {pool.workers_for_wait} ({wanted})"
    yield f"  replicas        {pool.replicas} = the larger / {counted(terms.concurrency, 'worker')} each, whole"
    yield f"  wait            {_waits(queue)}"
    yield f"  backlog         {counted(pool.backlog, 'job is', 'jobs are')} gone in {seconds(pool.drain)}"
    yield f"  memory          {pool.memory_mib:,.0f} MiB = {_memory(pool, terms)}"
    if pool.cost_a_month is not None:
        yield f"  cost            {pool.cost_a_month:,.2f} a month at {terms.price:g} an hour each"
    if not queue.holds:
        yield (
            f"  CAUTION         arrivals in bursts (variation {demand.scv_arrivals:.0f} > {BURSTY:g}): "
            "the waits above don't hold; look at the backlog of a burst and its drain"
        )
    yield from (f"  what if         {_what_if(one)}" for one in what_ifs(pool, terms))


def _memory(pool: PoolPlan, terms: Terms) -> str:
    children = f"{counted(pool.workers, 'worker')} x {terms.child_mib:g}"
    return f"{children} + {pool.replicas} main processes x {terms.main_mib:g}"


def _waits(queue: Queueing) -> str:
    if not queue.stable:
        return f"UNSTABLE at {queue.utilisation:.0%} busy: grows by {queue.growth:.3g} jobs/s"
    shares = ", ".join(f"{name} {seconds(queue.wait(p))}" for name, p in PERCENTILES.items())
    return (
        f"mean {seconds(queue.mean_wait)}, {shares}; {queue.utilisation:.0%} busy, "
        f"{queue.delayed:.1%} of the jobs wait"
    )


def _what_if(one: WhatIf) -> str:
    waits = "no worker is left" if one.queueing is None else _waits(one.queueing)
    drain = f"backlog gone in {seconds(one.drain)}"
    needed = f"more than {MOST_WORKERS:,}" if one.workers_needed is None else one.workers_needed
    return f"{one.question}: {waits}; {drain}; would need {needed}"


def _kind_line(kind: Measured) -> str:
    lasting = kind.durations
    return (
        f"  {kind.kind}: {counted(kind.attempts, 'attempt')}, mean {seconds(lasting.mean)}, "
        f"p50 {seconds(lasting.p50)}, p95 {seconds(lasting.p95)}, variation {lasting.scv:.2g}"
    )


def _shared_lines(plan: Plan) -> Iterator[str]:
    yield "connections, at most"
    for line in plan.lines:
        yield (
            f"  {line.processes:>4} x {line.process:<15} PostgreSQL {line.postgres:>5}  "
            f"RabbitMQ {line.rabbitmq:>4}"
        )
    kept = f"{connections.RESERVED} for superusers and {connections.SPARE} for people and commands"
    verdict = "room for" if plan.postgres_room >= 0 else "TOO FEW, by"
    yield from _pooler_lines(plan)
    yield (
        f"  PostgreSQL {plan.postgres_server} of max_connections {plan.terms.max_connections}, less {kept}: "
        f"{verdict} {abs(plan.postgres_room)}"
    )
    yield f"  RabbitMQ {plan.rabbitmq}"
    yield f"memory of all workers {sum(pool.memory_mib for pool in plan.pools):,.0f} MiB"
    total = _total_cost(plan)
    if total is not None:
        yield f"cost of all workers {total:,.2f} a month"


def _pooler_lines(plan: Plan) -> Iterator[str]:
    pooler = plan.terms.pooler_connections
    if pooler is None:
        return
    yield f"  pooler {counted(plan.postgres - plan.direct, 'client')}, {counted(pooler, 'connection')}; {plan.direct} go past it"
    if pooler < plan.workers:
        yield (
            f"  CAUTION         {counted(plan.workers, 'worker')} and {counted(pooler, 'connection')}: at the height of the load jobs "
            "wait for each other's (docs/pgbouncer.md)"
        )


def seconds(value: float) -> str:
    """Three digits, in the unit that a person would take."""
    if not isfinite(value):
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s" if value >= 1 or value == 0 else f"{value * 1000:.3g} ms"
