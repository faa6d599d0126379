"""Dispatch: pipelined confirms against confirming one message after the other.

Both take the same due jobs from the same outbox in the same batches and mark them in the same way; the
baseline's publisher waits for each confirm before it publishes the next message.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from sqlalchemy import Engine, text

from app.broker.publisher import Publishable, Publisher, connect
from app.broker.topology import Queue
from app.db import make_engine
from app.dispatcher import dispatch_batch
from app.jobs import ImportFinishedMail
from app.ledger.enqueue import NewJob, enqueue_many
from app.settings import Settings
from bench.report import Result
from infra.local.system import LocalSystem

JOBS = 5000
ROUNDS = 5
BATCH = 500


class OneByOne(Publisher):
    """The baseline: one message, one confirm, then the next."""

    def publish(self, messages: Sequence[Publishable]) -> list[bool]:
        return [super(OneByOne, self).publish([message])[0] for message in messages]


def run() -> Result:
    console = Console()
    runs: list[tuple[float, float]] = []
    servers = ("postgres", "epmd", "rabbitmq")
    with LocalSystem(Path(".local/bench"), programs=servers, say=print) as system:
        system.run_command("migrate")
        settings = Settings.of(system.settings)
        engine = make_engine(settings, pool_size=1, application_name="bench")
        _rate(engine, settings, Publisher, jobs=500)
        for number in range(ROUNDS):
            kinds = (Publisher, OneByOne) if number % 2 == 0 else (OneByOne, Publisher)
            rates = {kind: _rate(engine, settings, kind, jobs=JOBS) for kind in kinds}
            runs.append((rates[Publisher], rates[OneByOne]))
            console.print(
                f"round {number + 1}: {runs[-1][0]:,.0f} against {runs[-1][1]:,.0f} jobs/s"
            )
        engine.dispose()
    return Result(
        name="dispatch",
        unit="jobs/s",
        goal=3.0,
        baseline_is="the same dispatcher, confirming one message after the other",
        runs=runs,
    )


def _rate(engine: Engine, settings: Settings, kind: type[Publisher], *, jobs: int) -> float:
    with engine.begin() as tx:
        tx.execute(text("TRUNCATE jobs, job_history, outbox"))
        mail = [NewJob(job=ImportFinishedMail(import_id=uuid4())) for _ in range(jobs)]
        enqueue_many(tx, uuid4(), mail)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("VACUUM ANALYZE jobs, outbox"))
    publisher = kind(settings)
    try:
        began = time.perf_counter()
        taken = 0
        while taken < jobs:
            with engine.begin() as tx:
                taken += dispatch_batch(tx, publisher, batch=BATCH)
        return jobs / (time.perf_counter() - began)
    finally:
        publisher.close()
        _purge(settings, expected=jobs)


def _purge(settings: Settings, *, expected: int) -> None:
    """Empty the queue; that all jobs were in it is part of the measurement."""
    connection = connect(settings, heartbeat=0)
    purged = connection.channel().queue_purge(Queue.HIGH.value)
    connection.close()
    assert purged == expected, f"{purged} messages of {expected} were in the queue"
