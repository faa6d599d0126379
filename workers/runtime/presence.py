"""The worker's main process says every few seconds that it is there, for the operators' console; and learns who else
serves its shards, where there are any.

In a thread, and on a connection that is closed again: the event loop must not wait for the database, and a
worker whose database is away is as alive as before.
"""

import threading
from typing import Any

import structlog
from celery import Celery, bootsteps
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.processes import SECONDS, beat, leave
from app.logs import cause
from workers.runtime.shards import Plan
from workers.runtime.vitals import turn_at_the_database

log = structlog.get_logger()


class Presence(bootsteps.StartStopStep):
    """From the start of the pool to the worker's end."""

    requires = ("celery.worker.components:Pool",)

    @classmethod
    def install(cls, app: Celery) -> None:
        """For the app's workers."""
        app.steps["worker"].add(cls)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._over = threading.Event()
        self._queues: list[str] = []
        self._thread: threading.Thread | None = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Begin."""
        self._queues = sorted(parent.app.amqp.queues.consume_from)
        facts = {"name": parent.hostname, "queues": ", ".join(self._queues)}
        self._thread = threading.Thread(
            target=self._run, args=(facts, parent.pool), name="presence", daemon=True
        )
        self._thread.start()

    def stop(self, _parent: Any) -> None:
        """A worker that has ended isn't shown."""
        self._over.set()

    def _run(self, facts: dict[str, Any], pool: Any) -> None:
        while True:
            over = self._over.is_set()
            self._say(facts, slots=None if over else pool.num_processes)
            if over:
                return
            self._over.wait(SECONDS)

    def _say(self, facts: dict[str, Any], *, slots: int | None) -> None:
        """It is there, with so many slots; None: it has ended."""
        try:
            with turn_at_the_database() as engine, engine.begin() as tx:
                if slots is None:
                    leave(tx, facts["name"])
                else:
                    beat(tx, role="worker", slots=slots, **facts)
                    Plan.look(tx, facts["name"], self._queues)
        except SQLAlchemyError as error:
            log.info("worker.presence_unsaid", error=cause(error))
