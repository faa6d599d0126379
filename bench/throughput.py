"""Throughput: small idempotent jobs, end to end, against stock Celery doing the same insert.

Both insert the same row from two children of a prefork pool, each acknowledging late, on the same broker
and database, with fsync on. The work is put in beforehand: ours into the outbox while the dispatcher
is stopped, the baseline's into its queue while its worker is. Timed from the signal that lets them go to
the last row, by the database's clock. Ours is the whole path: outbox, dispatcher, broker, claim,
handler, settle; each job in a message of its own, as the baseline's.

Ours twice: with children that take several messages at a time, which is the ratio, and with children that take one.
What each part costs, and what is gained where jobs travel together, is measured in rounds of their own.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ClassVar
from uuid import uuid4

import psutil
import psycopg
from rich.console import Console
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.enqueue import NewJob, enqueue_many
from bench.report import Result
from bench.servers import servers
from bench.throughput_proxy import Counts, counting
from bench.throughput_row import CREATE
from bench.throughput_stages import FOLDER, medians
from infra.local.layout import ROOT
from infra.local.product import Product
from infra.local.program import MARKER, Program
from infra.local.system import LocalSystem
from infra.local.waiting import until

JOBS = 3000
FEWER_JOBS = 600
"""For the warm-up, and where medians or counts are wanted."""
ROUNDS = 5
CHILDREN = 2
TAKES = 16
"""Messages that a child takes at a time: of 4, 8 and 16 the fastest."""
TABLES = "bench_rows, jobs, job_history, outbox, in_flight"
OTHERS = {
    "ratio_with_a_claim_committed_first": "InsertRowAlone",
    "ratio_sixteen_together": "InsertRow",
}
Environment = Mapping[str, str]
TAKING: Environment = {"MILLRACE_WORKER_TAKES": str(TAKES)}
Cost = dict[str, int]
"""Microseconds of CPU per job, by part of the system."""


class Side:
    """One of the two systems: its processes, and how work is put into it."""

    held: ClassVar[str] = ""
    """The process that is stopped while work is put in."""
    servers: ClassVar[Sequence[str]] = ("postgres", "rabbitmq")
    """Those whose CPU is counted."""
    tables: ClassVar[str] = TABLES
    """What is vacuumed before a measurement; "" for all."""

    def __init__(
        self,
        system: LocalSystem,
        engine: Engine,
        environment: Environment | None = None,
        metrics_ports: Mapping[str, int] | None = None,
    ) -> None:
        self.system = system
        self.engine = engine
        self.processes: dict[str, psutil.Process] = {}
        self.product = product = Product(
            layout=system.layout,
            settings={**system.settings, "MILLRACE_LOG_JSON": "true", **(environment or {})},
            web_port=0,
            flower_port=0,
            flower_password="",
            metrics_ports=metrics_ports or {},
        )
        self.programs = {program.name: program for program in product.programs()}
        self.worker = product.worker("worker-default", "default", CHILDREN)

    def starts(self) -> Sequence[Program]:
        """What it consists of, in the order of starting."""
        raise NotImplementedError

    def put(self, jobs: int) -> None:
        """So much work, while nobody takes it."""
        raise NotImplementedError

    def takers(self) -> Sequence[psutil.Process]:
        """Who must stand still while work is put in."""
        return [self.processes[self.held]]

    def log_of(self, program: Program) -> Path:
        return self.system.layout.log_of(f"bench-{program.name}")


class Ours(Side):
    """The product as it is, and one more kind of job."""

    held = "dispatcher"
    kind = "InsertRowBrief"
    """The contract's name in `bench.throughput_ours`."""

    def starts(self) -> Sequence[Program]:
        replaced = [
            word.replace("workers.celery_app", "bench.throughput_ours")
            for word in self.worker.command
        ]
        python = self.worker.command[0]
        dispatcher = replace(
            self.programs["dispatcher"], command=[python, "-m", "bench.throughput_dispatcher"]
        )
        return [replace(self.worker, command=replaced), dispatcher]

    def put(self, jobs: int) -> None:
        from bench import throughput_ours

        kind = getattr(throughput_ours, self.kind)
        new = [NewJob(job=kind(row_id=new_id(), name="a row")) for _ in range(jobs)]
        with self.engine.begin() as tx:
            enqueue_many(tx, uuid4(), new)


def put_stock(jobs: int) -> None:
    """Into the queue of `bench.throughput_stock`, one after the other."""
    from bench.throughput_stock import insert_row

    for _ in range(jobs):
        insert_row.delay(str(new_id()), "a row")


class Stock(Side):
    """A Celery worker, and nothing else."""

    held = "worker-default"

    def starts(self) -> Sequence[Program]:
        log = self.log_of(self.worker)
        command = [
            *("celery", "-A", "bench.throughput_stock", "worker", "--loglevel=INFO"),
            *("--queues=stock", f"--concurrency={CHILDREN}", "--hostname=stock@%h"),
        ]
        return [
            replace(
                self.worker,
                command=[self.worker.command[0], "-m", *command],
                ready=lambda: " ready." in log.read_text(),
            )
        ]

    def log_of(self, program: Program) -> Path:
        return self.system.layout.log_of(f"bench-stock-{program.name}")

    def put(self, jobs: int) -> None:
        put_stock(jobs)


def run() -> Result:
    with servers() as (system, engine):
        with engine.begin() as tx:
            tx.execute(CREATE)
            tx.execute(text(f"TRUNCATE {TABLES}"))
        ours, stock = Ours(system, engine), Stock(system, engine)
        taking = Ours(system, engine, TAKING)
        runs, _, cpu = _rounds(taking, stock, {})
        one_at_a_time, others, cpu_one = _rounds(ours, stock, OTHERS)
        sides = {"ours": Ours, "stock": Stock}
        notes = {
            "jobs": JOBS,
            "takes": TAKES,
            "ratio_one_at_a_time": round(median(a / b for a, b in one_at_a_time), 3),
            **{name: round(median(ratios), 3) for name, ratios in others.items()},
            "cpu_us_per_job": {**cpu, "ours_one_at_a_time": cpu_one["ours"]},
            "child_us_per_job": {
                name: _stages(kind, system, engine) for name, kind in sides.items()
            },
            "database_per_job": {
                name: _asked(kind, system, engine) for name, kind in sides.items()
            },
        }
    return Result(
        name="throughput",
        unit="jobs/s",
        goal=1.0,
        baseline_is="stock Celery, acks late, the same insert",
        runs=runs,
        notes=notes,
    )


def _rounds(
    ours: Ours, stock: Side, kinds: Mapping[str, str]
) -> tuple[list[tuple[float, float]], dict[str, list[float]], dict[str, Cost]]:
    """The rates of each round, the ratios of our other kinds, and each side's median CPU."""
    console = Console()
    runs: list[tuple[float, float]] = []
    others: dict[str, list[float]] = {name: [] for name in kinds}
    costs: dict[Side, list[Cost]] = {ours: [], stock: []}
    with running(ours), running(stock):
        for side in (ours, stock):
            measure(side, FEWER_JOBS)
        for number in range(ROUNDS):
            rates: dict[Side, float] = {}
            for side in (ours, stock) if number % 2 == 0 else (stock, ours):
                rates[side], cost = measure(side, JOBS)
                costs[side].append(cost)
            runs.append((rates[ours], rates[stock]))
            for name, ours.kind in kinds.items():
                others[name].append(measure(ours, JOBS)[0] / rates[stock])
            ours.kind = Ours.kind
            console.print(
                f"round {number + 1}: {runs[-1][0]:,.0f} against {runs[-1][1]:,.0f} jobs/s"
            )
    return runs, others, {"ours": median_cost(costs[ours]), "stock": median_cost(costs[stock])}


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Part by part, and their sum."""
    parts = {part: round(median(cost[part] for cost in costs)) for part in costs[0]}
    return {**parts, "all": sum(parts.values())}


@contextmanager
def running(side: Side) -> Iterator[None]:
    """The side's processes, ready, until the block ends."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for program in side.starts():
            if program.before_start:
                program.before_start()
            with side.log_of(program).open("wb") as log:
                process = subprocess.Popen(
                    program.command,
                    env={
                        **os.environ,
                        **program.environment,
                        MARKER: str(side.system.layout.home),
                    },
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            started.append(process)
            side.processes[program.name] = psutil.Process(process.pid)
            assert until(program.ready, seconds=40), f"{program.name} isn't ready"
        yield
    finally:
        for process in started:
            _let_go(process.pid)
            process.terminate()
        for process in started:
            process.wait(60)


def _let_go(pid: int) -> None:
    """A process that still stands, because putting work in failed, wouldn't hear that it is to end."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            one.send_signal(signal.SIGCONT)


def measure(side: Side, jobs: int) -> tuple[float, Cost]:
    """Jobs per second, and microseconds of CPU per job by process."""
    with side.engine.begin() as tx:
        tx.execute(text("TRUNCATE bench_rows"))
    held = side.takers()
    for process in held:
        process.suspend()
    side.put(jobs)
    with psycopg.connect(side.system.postgres.superuser_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    with side.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        # What autovacuum has done in a system that isn't a minute old.
        tx.execute(text(f"VACUUM ANALYZE {side.tables}"))
        before = _cpu(side)
        began = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
        for process in held:
            process.send_signal(signal.SIGCONT)
        done = until(lambda: _rows(side.engine) >= jobs, seconds=300)
        assert done, f"{_rows(side.engine)} of {jobs} rows are there"
        after = _cpu(side)
        ended = tx.execute(text("SELECT max(at) FROM bench_rows")).scalar_one()
    if isinstance(side, Ours):
        assert until(lambda: _unfinished(side.engine) == 0, seconds=30), "jobs are left"
    cost = {name: round((after[name] - before[name]) / jobs * 1e6) for name in after}
    return jobs / (ended - began).total_seconds(), cost


def _rows(engine: Engine) -> int:
    with engine.connect() as tx:
        return int(tx.execute(text("SELECT count(*) FROM bench_rows")).scalar_one())


def _unfinished(engine: Engine) -> int:
    with engine.connect() as tx:
        # What a schedule posts meanwhile is nobody's.
        query = text("SELECT count(*) FROM jobs WHERE state <> 'succeeded' AND kind LIKE 'bench.%'")
        return int(tx.execute(query).scalar_one())


def _cpu(side: Side) -> dict[str, float]:
    """Seconds of CPU so far, by part of the system."""
    used: dict[str, float] = {}
    for name, process in side.processes.items():
        times = process.cpu_times()
        used[name.replace("-default", "")] = times.user + times.system
        ended = times.children_user + times.children_system
        if name.startswith("worker"):
            children = _sum(process.children(recursive=True)) + ended
            used["children"] = used.get("children", 0.0) + children
    for name in side.servers:
        server = psutil.Process(side.system.pid(name))
        times = server.cpu_times()
        gone = times.children_user + times.children_system
        used[name] = _sum([server, *server.children(recursive=True)]) + gone
    return used


def _sum(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def _stages(kind: type[Side], system: LocalSystem, engine: Engine) -> dict[str, int]:
    """Where a child's time goes, per job; ours with a message each, as the baseline's."""
    with TemporaryDirectory() as folder:
        side = kind(system, engine, {FOLDER: folder})
        if isinstance(side, Ours):
            side.kind = "InsertRowAlone"
        with running(side):
            measure(side, FEWER_JOBS)
        return medians(Path(folder))


def _asked(kind: type[Side], system: LocalSystem, engine: Engine) -> dict[str, float]:
    """Round trips to the database and transactions there, per job, of all of the side's processes."""
    port = system.ports["postgres"]
    with counting(port) as (through, counts):
        url = system.settings["MILLRACE_DATABASE_URL"].replace(f":{port}/", f":{through}/")
        off = "sslmode=disable&gssencmode=disable"
        side = kind(system, engine, {"MILLRACE_DATABASE_URL": f"{url}?{off}"})
        with running(side):
            measure(
                side, FEWER_JOBS
            )  # by now every connection is open and every statement prepared
            before = replace(counts)
            measure(side, FEWER_JOBS)
            return _per_job(before, counts)


def _per_job(before: Counts, after: Counts) -> dict[str, float]:
    return {
        "round_trips": round((after.round_trips - before.round_trips) / FEWER_JOBS, 2),
        "transactions": round((after.transactions - before.transactions) / FEWER_JOBS, 2),
    }
