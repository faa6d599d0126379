"""The line to the broker is lost, and what the children run goes on. Their messages are not ours any more: another worker
gets them, and would take the jobs over, as those of a worker that is gone. That would cost each an attempt, and its work
so far. So the ledger is told that they are at work here, and that their messages say nothing more of them.

A job whose child dies after that is put back as ever (`given_back`); if the worker does, when its lease runs out. A message that
is faster than our word is believed.
"""

import threading
import time
from collections.abc import Collection
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.rescue import keep_without_message
from app.logs import cause
from workers.runtime.vitals import turn_at_the_database

log = structlog.get_logger()

AGAIN_SECONDS = 0.5
"""Between two attempts to reach the database."""


def keep_at_work(worker: str, jobs: Collection[UUID]) -> None:
    """Tell the ledger so, in a thread: those of the jobs that are running in the worker's name."""
    if jobs:
        threading.Thread(target=_run, args=(worker, jobs), name="at-work", daemon=True).start()


def _run(worker: str, jobs: Collection[UUID]) -> None:
    while True:
        try:
            with turn_at_the_database() as engine, engine.begin() as tx:
                kept = keep_without_message(tx, jobs, worker=worker)
        except SQLAlchemyError as error:
            log.info("worker.jobs_not_kept", jobs=len(jobs), error=cause(error))
            time.sleep(AGAIN_SECONDS)
        else:
            log.info("worker.jobs_kept", jobs=kept, reason="broker_away")
            return
