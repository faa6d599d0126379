"""The line to the broker is lost, and what the children run goes on. Their messages are not ours any more: another worker
gets them, and would take the jobs over, as those of a worker that is gone. That would cost each an attempt, and its work
so far. So the ledger is told that they are at work here, and that their messages say nothing more of them.

A job whose child dies after that is put back as ever (`given_back`); if the worker does, when its lease runs out. A message that
is faster than our word is believed.
"""

import threading
from collections.abc import Collection
from uuid import UUID

import structlog
from sqlalchemy import Engine

from app.ledger.rescue import keep_without_message
from app.logs import cause
from workers.runtime.vitals import ask_until_answered

log = structlog.get_logger()


def keep_at_work(worker: str, jobs: Collection[UUID]) -> None:
    """Tell the ledger so, in a thread: those of the jobs that are running in the worker's name."""
    if jobs:
        threading.Thread(target=_run, args=(worker, jobs), name="at-work", daemon=True).start()


def _run(worker: str, jobs: Collection[UUID]) -> None:
    def keep(engine: Engine) -> int:
        with engine.begin() as tx:
            return keep_without_message(tx, jobs, worker=worker)

    def not_kept(error: Exception) -> None:
        log.info("worker.jobs_not_kept", jobs=len(jobs), error=cause(error))

    kept = ask_until_answered(keep, not_kept)
    log.info("worker.jobs_kept", jobs=kept, reason="broker_away")
