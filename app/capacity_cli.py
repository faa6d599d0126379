"""`millrace capacity`: how many workers, connections and how much memory a load needs."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal import AsJson, safe, transaction

if TYPE_CHECKING:
    from app.capacity.measured import Found
    from app.capacity.plan import Terms

TERMS = (
    *("utilisation", "headroom", "wait_p95", "price", "concurrency"),
    *("web_processes", "dispatchers", "max_connections", "pooler_connections"),
)
LOAD = {
    "rate": "arrival_rate",
    "mean": "mean_seconds",
    "scv": "scv_durations",
    "p50": "p50_seconds",
    "p95": "p95_seconds",
    "scv_arrivals": "scv_arrivals",
    "overhead": "overhead_seconds",
    "backlog": "backlog",
}
"""Options that make a load, by their names in a file."""
MEASURED = {"overhead": "overhead_seconds", "backlog": "backlog"}
"""Of these, what also goes with a measured load."""

Period = Annotated[
    float, typer.Option(min=0.02, max=24 * 90, help="Of the ledger's history, until now.")
]
Pooler = Annotated[int | None, typer.Option(help="What PgBouncer opens to PostgreSQL at most.")]
Extra = Annotated[float | None, typer.Option(help="Workers on top; 0.25 is a quarter.")]
Given = Annotated[
    Path | None,
    typer.Option("--file", exists=True, dir_okay=False, help="Loads, as TOML or JSON."),
]


def capacity(
    period_hours: Period = 24.0,
    file: Given = None,
    rate: Annotated[float | None, typer.Option(help="Jobs a second, instead of measuring.")] = None,
    mean: Annotated[float | None, typer.Option(help="Seconds that a job takes.")] = None,
    scv: Annotated[float | None, typer.Option(help="Variance over squared mean.")] = None,
    p50: Annotated[float | None, typer.Option(help="Instead of the mean, with --p95.")] = None,
    p95: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    scv_arrivals: Annotated[float | None, typer.Option(help="1: Poisson's.")] = None,
    overhead: Annotated[float | None, typer.Option(min=0, help="Seconds between jobs.")] = None,
    backlog: Annotated[int | None, typer.Option(min=0, help="Jobs to drain.")] = None,
    pool: Annotated[str | None, typer.Option(help="What to call the load given here.")] = None,
    utilisation: Annotated[float | None, typer.Option(help="How busy workers may be.")] = None,
    headroom: Extra = None,
    wait_p95: Annotated[float | None, typer.Option(help="Seconds that it may be.")] = None,
    price: Annotated[float | None, typer.Option(help="Of a replica and hour.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Workers of a replica.")] = None,
    web_processes: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    dispatchers: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    max_connections: Annotated[int | None, typer.Option(help="PostgreSQL's.")] = None,
    pooler_connections: Pooler = None,
    as_json: AsJson = False,
) -> None:
    """Plan workers, connections and memory: from what the ledger measured, or from a load that you give.

    workers = arrival rate x mean duration / target utilisation + 25 %, for each queue. Exit status 1 when
    a queue could not keep up, or nobody does its jobs, or PostgreSQL has too few connections.
    """
    from app.capacity.plan import make_plan
    from app.capacity.report import as_facts, lines

    options = locals()
    load = {field: options[name] for name, field in LOAD.items() if options[name] is not None}
    terms = {name: options[name] for name in TERMS if options[name] is not None}
    _refuse_ignored(load, pool, file)
    if file is None and rate is None:
        found, own = _measured(timedelta(hours=period_hours), load)
    else:
        found, own = _given(file, pool or "default", load)
    plan = make_plan(found.demands, _terms(own, terms))
    if as_json:
        typer.echo(json.dumps(as_facts(plan, found.kinds, found.unended), allow_nan=False))
    else:
        for line in lines(plan, found.kinds, found.unended):
            typer.echo(safe(line))
    stable = all(one.queueing.stable for one in plan.pools)
    if plan.postgres_room < 0 or found.unended or not stable:
        raise typer.Exit(1)


def _refuse_ignored(load: dict[str, Any], pool: str | None, file: Path | None) -> None:
    """An option without effect would be a plan for another load than the one that was meant."""
    from app.errors import Unprocessable

    words = {field: f"--{name.replace('_', '-')}" for name, field in LOAD.items()}
    given = [words[field] for field in load] + (["--pool"] if pool is not None else [])
    if file is not None and given:
        raise Unprocessable(f"{', '.join(given)}: the loads are in {file}; change them there.")
    measured = {words[field] for field in MEASURED.values()}
    if (
        file is None
        and "--rate" not in given
        and (lost := [one for one in given if one not in measured])
    ):
        raise Unprocessable(f"{', '.join(lost)}: of a load that is given; add --rate.")


def _given(file: Path | None, pool: str, load: dict[str, Any]) -> tuple["Found", dict[str, Any]]:
    """The loads, and what a file says that is the same for all."""
    from app.capacity.given import one_pool, read_file
    from app.capacity.measured import Found

    if file is None:
        return Found(demands=[one_pool(load).demand(pool)]), {}
    given = read_file(file)
    return Found(demands=[one.demand(name) for name, one in given.pools.items()]), given.terms


def _measured(period: timedelta, load: dict[str, Any]) -> tuple["Found", dict[str, Any]]:
    """What the history says, and how many connections PostgreSQL has."""
    from app.capacity.measured import max_connections, measure
    from app.errors import NotFound

    with transaction() as tx:
        found, most = measure(tx, period), max_connections(tx)
    if not found.demands and not found.unended:
        raise NotFound(
            "No job ran in that period. Take a longer one (--period-hours), or give a load: --rate, --mean."
        )
    changed = {name: load[field] for name, field in MEASURED.items() if field in load}
    demands = [replace(demand, **changed) for demand in found.demands]
    return replace(found, demands=demands), {"max_connections": most}


def _terms(*given: dict[str, Any]) -> "Terms":
    """The settings of this process where there are any, and over them what was given, the last first."""
    from pydantic import ValidationError

    from app.capacity.given import terms_of
    from app.settings import get_settings

    facts: dict[str, Any] = {}
    try:
        settings = get_settings()
    except ValidationError:
        pass  # a load that is given needs no database
    else:
        facts = {
            "concurrency": settings.worker_concurrency,
            "child_mib": settings.worker_max_memory_per_child_kib / 1024,
            "web_pool": settings.db_pool_size,
            "pooler_connections": settings.pooler_connections if settings.pooled else None,
        }
        if "processes" in settings.model_fields_set:
            planned = settings.processes
            facts |= {"web_processes": planned.web, "dispatchers": planned.dispatchers}
    for words in given:
        facts |= {name: value for name, value in words.items() if value is not None}
    return terms_of(facts)
