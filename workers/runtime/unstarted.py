"""Jobs whose messages a worker has no child for, put back into the outbox; in a thread, for the event loop must not wait for the
database.
"""

import threading
from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.rescue import put_back_unstarted
from app.logs import cause
from workers.runtime.message import job_ids_of
from workers.runtime.request import Request
from workers.runtime.vitals import turn_at_the_database

log = structlog.get_logger()


class Returning:
    """Begins at once. When it `is_over`, the jobs in `done` are in the outbox: none, if the database was away."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.done: frozenset[UUID] = frozenset()
        self._thread = threading.Thread(target=self._run, name="unstarted", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether `done` is what it will be."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        jobs = job_ids_of(*self.requests)
        try:
            with turn_at_the_database() as engine, engine.begin() as tx:
                done = frozenset(put_back_unstarted(tx, jobs))
        except SQLAlchemyError as error:
            log.info("worker.unstarted_not_put_back", error=cause(error))
        else:
            self.done = done
