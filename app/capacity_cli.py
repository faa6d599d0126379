"""`millrace capacity`: how many workers, connections and how much memory a load needs."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal import AsJson, safe, transaction

if TYPE_CHECKING:
    from app.capacity.measured import Measured
    from app.capacity.plan import Demand, Terms

Given = Annotated[
    Path | None,
    typer.Option("--file", exists=True, dir_okay=False, help="Loads, as TOML or JSON."),
]


def capacity(
    period_hours: Annotated[
        float, typer.Option(min=0.02, max=24 * 90, help="Of the ledger's history, until now.")
    ] = 24.0,
    file: Given = None,
    rate: Annotated[float | None, typer.Option(help="Jobs a second, instead of measuring.")] = None,
    mean: Annotated[float | None, typer.Option(help="Seconds that a job takes.")] = None,
    scv: Annotated[float | None, typer.Option(help="Variance over squared mean.")] = None,
    p50: Annotated[float | None, typer.Option(help="Instead of the mean, with --p95.")] = None,
    p95: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    scv_arrivals: Annotated[float | None, typer.Option(help="1: Poisson's.")] = None,
    overhead: Annotated[float | None, typer.Option(help="Seconds between two jobs.")] = None,
    backlog: Annotated[int | None, typer.Option(help="Jobs to drain.")] = None,
    pool: Annotated[str, typer.Option(help="What to call the load given here.")] = "default",
    utilisation: Annotated[float | None, typer.Option(help="How busy workers may be.")] = None,
    headroom: Annotated[
        float | None, typer.Option(help="Workers on top; 0.25 is a quarter.")
    ] = None,
    wait_p95: Annotated[float | None, typer.Option(help="Seconds that it may be.")] = None,
    price: Annotated[float | None, typer.Option(help="Of a replica and hour.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Workers of a replica.")] = None,
    web_processes: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    dispatchers: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    max_connections: Annotated[int | None, typer.Option(help="PostgreSQL's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Plan workers, connections and memory: from what the ledger measured, or from a load that you give.

    workers = arrival rate x mean duration / target utilisation + 25 %, for each queue. Exit status 1 when
    a queue could not keep up, or PostgreSQL has too few connections.
    """
    from app.capacity.given import one_pool, read_file
    from app.capacity.plan import make_plan
    from app.capacity.report import as_facts, lines

    options = {
        "utilisation": utilisation,
        "headroom": headroom,
        "wait_p95": wait_p95,
        "price": price,
        "concurrency": concurrency,
        "web_processes": web_processes,
        "dispatchers": dispatchers,
        "max_connections": max_connections,
    }
    load = {
        "arrival_rate": rate,
        "mean_seconds": mean,
        "scv_durations": scv,
        "p50_seconds": p50,
        "p95_seconds": p95,
        "scv_arrivals": scv_arrivals,
        "overhead_seconds": overhead,
        "backlog": backlog,
    }
    kinds: list[Measured] = []
    if file is not None:
        given = read_file(file)
        terms = _terms(given.terms, options)
        demands = [one.demand(name) for name, one in given.pools.items()]
    elif rate is not None:
        terms, demands = _terms({}, options), [one_pool(load).demand(pool)]
    else:
        demands, kinds, found = _measured(timedelta(hours=period_hours), overhead, backlog)
        terms = _terms({"max_connections": found}, options)
    plan = make_plan(demands, terms)
    if as_json:
        typer.echo(json.dumps(as_facts(plan, kinds)))
    else:
        for line in lines(plan, kinds):
            typer.echo(safe(line))
    if plan.postgres_room < 0 or not all(one.queueing.stable for one in plan.pools):
        raise typer.Exit(1)


def _measured(
    period: timedelta, overhead: float | None, backlog: int | None
) -> tuple[list["Demand"], list["Measured"], int]:
    from app.capacity.measured import max_connections, measure
    from app.errors import NotFound

    with transaction() as tx:
        demands, kinds = measure(tx, period)
        found = max_connections(tx)
    if not demands:
        raise NotFound(
            "No job ran in that period. Take a longer one (--period-hours), or give a load: --rate, --mean."
        )
    if overhead is not None:
        demands = [replace(demand, overhead=overhead) for demand in demands]
    if backlog is not None:
        demands = [replace(demand, backlog=backlog) for demand in demands]
    return demands, kinds, found


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
        }
    for words in given:
        facts |= {name: value for name, value in words.items() if value is not None}
    return terms_of(facts)
