"""The product's Celery application with more kinds of job, for tests of the worker itself."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text

from app.ledger.contract import JobContract
from tests.support import plain_tasks  # noqa: F401 - registers them
from tests.support.worker_jobs import (
    BriefTally,
    Doomed,
    Hog,
    Hold,
    Killer,
    Maniac,
    Query,
    Rare,
    Slow,
    Stuck,
    Tally,
    UrgentTally,
    Warm,
)
from workers.celery_app import app
from workers.runtime import executor
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task

executor.DATABASE_WAIT_SECONDS = float(os.environ.get("TEST_DATABASE_WAIT_SECONDS", "30"))

_TALLY = text("INSERT INTO tallies (job_id, attempt, pid) VALUES (:job_id, :attempt, :pid)")


@handles(Stuck)
def stuck(ctx: Context, _: Stuck) -> Outcome:
    """Swallows the soft limit; only the hard one ends it."""
    while ctx.job.attempt == 1:
        with suppress(Exception):
            threading.Event().wait(60)
    return Done()


@handles(Doomed)
def doomed(_ctx: Context, _: Doomed) -> Outcome:
    return Dead("it was doomed", "doomed")


@handles(Tally)
def tally(ctx: Context, job: Tally) -> Outcome:
    with ctx.transaction() as tx:
        row = {"job_id": ctx.job.id, "attempt": ctx.job.attempt, "pid": os.getpid()}
        tx.execute(_TALLY, row)
        time.sleep(job.seconds)
    return Done()


@handles(UrgentTally)
def urgent_tally(ctx: Context, job: UrgentTally) -> Outcome:
    return tally(ctx, job)


@handles(Warm)
def warm(ctx: Context, job: Warm) -> Outcome:
    return tally(ctx, job)


@handles(Rare)
@handles(Hold)
def hold(ctx: Context, job: Hold) -> Outcome:
    while not Path(job.gate).exists():
        time.sleep(0.02)
    return tally(ctx, Tally())


def _kill_myself(_ctx: Context, _: JobContract) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    return Done()


@handles(BriefTally)
def brief_tally(ctx: Context, job: BriefTally) -> Outcome:
    return _kill_myself(ctx, job) if job.kills else tally(ctx, job)


handles(Killer)(_kill_myself)
handles(Maniac)(_kill_myself)


@handles(Slow)
def slow(ctx: Context, job: Slow) -> Outcome:
    if ctx.job.attempt == 1:
        with ctx.transaction() as tx:
            tx.execute(_TALLY, {"job_id": ctx.job.id, "attempt": 0, "pid": os.getpid()})
        try:
            threading.Event().wait(60)
        finally:
            Path(job.tidied).touch()
    return tally(ctx, Tally())


@handles(Query)
def query(ctx: Context, _: Query) -> Outcome:
    with ctx.transaction() as tx:
        tx.execute(text("LOCK TABLE tallies IN EXCLUSIVE MODE"))
        if ctx.job.attempt == 1:
            tx.execute(text("SELECT pg_sleep(60)"))
    return tally(ctx, Tally())


@handles(Hog)
def hog(ctx: Context, job: Hog) -> Outcome:
    held = b"x" * (job.mib * 1024 * 1024)
    outcome = tally(ctx, job)
    del held
    return outcome


for contract in (
    *(Stuck, Doomed, Tally, BriefTally, UrgentTally, Warm, Hold, Rare),
    *(Killer, Maniac, Slow, Query, Hog),
):
    register_task(app, contract)
