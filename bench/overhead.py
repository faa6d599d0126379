"""What metrics, logs and history cost: small jobs with all of them, against the same system with none.

The jobs and the way of timing are `throughput`'s. Each round starts the system anew for each side, and the
sides take turns at being first. "Ours" counts, and is scraped in every round; it writes its log lines as JSON,
at the level of production; and it keeps each job's history. The baseline is the same code with the metrics'
port at 0, no line below CRITICAL, and statements from which the history's rows were taken out
(`overhead_switches`). Further sides leave out one part each, or trace all or some of the jobs, or have them travel
together, sixteen to a message: what a line and a history cost is then a larger share of less.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from urllib.request import urlopen

from rich.console import Console
from sqlalchemy import Engine, text

from bench.overhead_switches import WITHOUT
from bench.report import Result
from bench.servers import servers
from bench.throughput import (
    FEWER_JOBS,
    TABLES,
    Cost,
    Environment,
    Ours,
    measure,
    median_cost,
    running,
)
from bench.throughput_row import CREATE
from infra.local.system import LocalSystem

JOBS = 5_000
ROUNDS = 5
FEWER_ROUNDS = 2
"""For the sides that are beside the point."""
ALL, NONE = "with all", "with none"
TOGETHER = "InsertRow"
QUIET = {"MILLRACE_LOG_LEVEL": "CRITICAL"}
METERED = ("dispatcher", "worker-default")


class Watched(Ours):
    """Ours, with metrics or without, and with the environment that says what else is left out."""

    def __init__(
        self,
        system: LocalSystem,
        engine: Engine,
        environment: Environment,
        *,
        metrics: bool,
        kind: str = Ours.kind,
    ) -> None:
        self.kind = kind
        self.ports = {name: system.ports[f"metrics-{name}"] for name in METERED if metrics}
        super().__init__(system, engine, environment, self.ports)

    def scrape(self) -> None:
        """As Prometheus does, once in every 15 s: here once in a round, which takes a few."""
        for port in self.ports.values():
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert b"millrace_" in answer.read()


def run() -> Result:
    with servers() as (system, engine), collector() as endpoint:
        with engine.begin() as tx:
            tx.execute(CREATE)
            tx.execute(text(f"TRUNCATE {TABLES}"))
        sides = _sides(system, engine, endpoint)
        rates, costs = _rounds(sides)
    runs = list(zip(rates[ALL], rates[NONE], strict=True))
    return Result(
        name="overhead",
        unit="jobs/s",
        goal=0.9,
        baseline_is="the same system without metrics, logs and history",
        runs=runs,
        notes={
            "jobs": JOBS,
            "ratio_to_all": {name: _ratio(rates[name], rates[ALL]) for name in sides},
            "cpu_us_per_job": {name: median_cost(costs[name]) for name in sides},
        },
    )


def _sides(system: LocalSystem, engine: Engine, endpoint: str) -> Mapping[str, Watched]:
    def side(environment: Environment, *, metrics: bool = True, kind: str = Ours.kind) -> Watched:
        return Watched(system, engine, environment, metrics=metrics, kind=kind)

    def tracing(ratio: str) -> Environment:
        return {"MILLRACE_OTLP_ENDPOINT": endpoint, "MILLRACE_TRACE_RATIO": ratio}

    nothing = {**QUIET, WITHOUT: "history,logs"}
    return {
        ALL: side({}),
        NONE: side(nothing, metrics=False),
        "without metrics": side({}, metrics=False),
        "without logs": side({**QUIET, WITHOUT: "logs"}),
        "without history": side({WITHOUT: "history"}),
        "together, with all": side({}, kind=TOGETHER),
        "together, with none": side(nothing, metrics=False, kind=TOGETHER),
        "and 1 % traced": side(tracing("0.01")),
        "and 10 % traced": side(tracing("0.1")),
        "and all traced": side(tracing("1")),
    }


def _rounds(
    sides: Mapping[str, Watched],
) -> tuple[dict[str, list[float]], dict[str, list[Cost]]]:
    console = Console()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        turns = [name for name in sides if number < FEWER_ROUNDS or name in {ALL, NONE}]
        for name in turns if number % 2 == 0 else reversed(turns):
            rate, cost = _measure(sides[name])
            rates[name].append(rate)
            costs[name].append(cost)
        words = ", ".join(f"{name} {rates[name][-1]:,.0f}" for name in turns)
        console.print(f"round {number + 1}: {words}", highlight=False)
    return rates, costs


def _measure(side: Watched) -> tuple[float, Cost]:
    with side.engine.begin() as tx:
        tx.execute(text(f"TRUNCATE {TABLES}"))
    with running(side):
        measure(side, FEWER_JOBS)
        scraping = threading.Timer(1.0, side.scrape)
        scraping.start()
        answer = measure(side, JOBS)
        scraping.join()
    return answer


def _ratio(ours: Sequence[float], baseline: Sequence[float]) -> float:
    return round(median(o / b for o, b in zip(ours, baseline, strict=False)), 3)


class _Takes(BaseHTTPRequestHandler):
    """A collector that throws away what it gets: its own work is no cost of ours."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


@contextmanager
def collector() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Takes)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
