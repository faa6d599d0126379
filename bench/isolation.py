"""Does work that can wait hold up work that can't? Urgent jobs, alone and with two backlogs behind them.

The whole system runs: web, two dispatchers as in production, three pools. The baseline is the time from commit to start of jobs on
`high` in an idle system; ours the same while 10,000 slow jobs wait on `low`, whose pool is at work on them, and
a million-row import waits on `default`, whose queue is paused so that all its parts stay waiting. A note says
what becomes of it while the import runs: then the jobs share the cores with it, and no queue can help that.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from app.db import make_engine
from app.ids import new_id
from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from app.ledger.rules import Scope
from app.ledger.rules import pause as hold
from app.ledger.rules import resume as let_go
from app.settings import Settings
from app.storage import make_storage
from bench.import_stage import Stage, sample
from bench.report import Result
from bench.servers import HOME
from bench.throughput import Ours, running
from infra.local.program import Program
from infra.local.system import LocalSystem
from infra.local.tenant import make_tenant
from infra.local.waiting import until

WAITING = 10_000
ROWS = 1_000_000
URGENT = 1000
BESIDE_THE_IMPORT = 400
"""As many as fit into the time that it takes."""
ROUNDS = 7
"""Of 1,000 jobs the p99 is that of the tenth worst: a single round says little."""
_STARTED = text("""
    SELECT id, extract(epoch FROM started_at)::float8 AS started FROM jobs WHERE id = ANY(:ids)
""")
APART_SECONDS = 0.04
"""At most, from one urgent job to the next: a fifth of what the pool takes."""


class WithKinds(Ours):
    """The pools of `high` and `low`, with the benchmark's kinds; and the second dispatcher."""

    def starts(self) -> list[Program]:
        pools = [self.programs["worker-high"], self.programs["worker-low"]]
        return [*map(_with_kinds, pools), self.product.dispatcher("dispatcher-2")]


def _with_kinds(program: Program) -> Program:
    words = [word.replace("workers.celery_app", "bench.isolation_ours") for word in program.command]
    return replace(program, command=words)


def run() -> Result:
    servers = ("postgres", "epmd", "rabbitmq", "s3", "smtp", "web", "dispatcher", "worker-default")
    runs: list[tuple[float, float]] = []
    notes: dict[str, Any] = {"urgent_jobs": URGENT, "low_jobs": WAITING, "import_rows": ROWS}
    seconds: dict[str, list[float]] = {"idle": [], "backlog": [], "import_running": []}
    with LocalSystem(HOME, programs=servers, say=print) as system:
        os.environ.update(system.settings)
        engine = make_engine(Settings.of(system.settings), pool_size=2, application_name="bench")
        make_storage(Settings.of(system.settings)).ensure_bucket()
        on = Stage(system, engine, make_tenant(system, "bench", email="bench@example.com"))
        sample(ROWS)
        with running(WithKinds(system, engine)):
            _urgent(engine, 50)
            for number in range(ROUNDS):
                idle = _urgent(engine, URGENT)
                with _backlogs(on):
                    behind = _urgent(engine, URGENT)
                    if number == 0:
                        let_default_go(engine)
                        seconds["import_running"] = _urgent(engine, BESIDE_THE_IMPORT)
                runs.append((1 / _p99(behind), 1 / _p99(idle)))
                seconds["idle"] += idle
                seconds["backlog"] += behind
                Console().print(
                    f"round {number + 1}: p99 {_p99(behind) * 1000:.0f} ms behind the backlogs, "
                    f"{_p99(idle) * 1000:.0f} ms alone"
                )
        engine.dispose()
    notes["ms"] = {
        name: {"p50": round(median(found) * 1000, 1), "p99": round(_p99(found) * 1000, 1)}
        for name, found in seconds.items()
    }
    return Result(
        name="isolation",
        unit="1/s at p99",
        goal=round(1 / 1.2, 3),
        baseline_is="the same urgent jobs in an idle system",
        runs=runs,
        notes=notes,
    )


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100)[-1]


@contextmanager
def _backlogs(on: Stage) -> Iterator[None]:
    """The slow jobs and the import, waiting; gone afterwards."""
    from bench.isolation_ours import Patient

    with on.engine.begin() as tx:
        hold(tx, Scope.QUEUE, "default", reason="The benchmark's import is to wait.")
        enqueue_many(tx, new_id(), [NewJob(job=Patient())] * WAITING)
    with on.client() as client, sample(ROWS).open("rb") as file:
        answer = client.post("/v1/imports", content=file, headers={"Content-Type": "text/csv"})
        answer.raise_for_status()
        try:
            yield
        finally:
            client.post(f"{answer.headers['Location']}/cancel").raise_for_status()
            with on.engine.begin() as tx:
                let_go(tx, Scope.QUEUE, "default")
            _end(on.engine)


def let_default_go(engine: Engine) -> None:
    """And wait until the import is at work."""
    with engine.begin() as tx:
        let_go(tx, Scope.QUEUE, "default")
    _until(engine, "SELECT count(*) > 0 FROM import_chunks WHERE done_at IS NOT NULL")


def _urgent(engine: Engine, number: int) -> list[float]:
    """Seconds from commit to start of so many jobs, each a tenant's of its own."""
    from bench.isolation_ours import Urgent

    dice = random.Random(number)
    ids, committed = [], []
    for _ in range(number):
        time.sleep(dice.uniform(0, APART_SECONDS))
        with engine.begin() as tx:
            ids.append(enqueue(tx, new_id(), Urgent()).id)
        with engine.begin() as tx:
            now = tx.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
            committed.append(now.scalar_one())
    query = text("SELECT count(*) = 0 FROM jobs WHERE id = ANY(:ids) AND started_at IS NULL")
    deadline = time.monotonic() + 60
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        while not tx.execute(query, {"ids": ids}).scalar_one():
            assert time.monotonic() < deadline, "urgent jobs don't start"
            time.sleep(0.05)
        rows = tx.execute(_STARTED, {"ids": ids})
        found = {row.id: row.started for row in rows}
    return [max(found[job] - at, 0.0001) for job, at in zip(ids, committed, strict=True)]


def _end(engine: Engine) -> None:
    """What has not been sent is gone, and what has been sent ends."""
    with engine.begin() as tx:
        tx.execute(text("LOCK outbox"))
        tx.execute(text("DELETE FROM jobs WHERE state = 'scheduled' AND kind = 'bench.patient'"))
        tx.execute(text("DELETE FROM outbox WHERE job_id NOT IN (SELECT id FROM jobs)"))
    _until(engine, "SELECT count(*) = 0 FROM in_flight")

    def emptied() -> bool:
        """The dispatcher's chores may read these in another order, and then one of the two gives way."""
        with suppress(OperationalError), engine.begin() as tx:
            tx.execute(text("TRUNCATE contacts, imports, import_chunks CASCADE"))
            return True
        return False

    assert until(emptied, seconds=30), "the imports are in use"


def _until(engine: Engine, question: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with engine.connect() as tx:
            if tx.execute(text(question)).scalar_one():
                return
        time.sleep(0.1)
    raise TimeoutError(question)
