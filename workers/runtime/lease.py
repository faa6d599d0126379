"""Keeps the lease of the running job alive, from one thread per child process.

Most jobs end long before the first heartbeat is due, and then this costs no query at all.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.ledger import store
from workers.runtime.context import Context

log = structlog.get_logger()


class LeaseKeeper:
    """One job at a time: `keep` wraps its run."""

    def __init__(self, engine: Engine, *, lease_seconds: float) -> None:
        self._engine = engine
        self._lease_seconds = lease_seconds
        self._changed = threading.Condition()
        self._current: Context | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, context: Context) -> Iterator[None]:
        """Extend the context's lease every third of it until the block ends."""
        self._set(context)
        try:
            yield
        finally:
            self._set(None)

    def _set(self, context: Context | None) -> None:
        with self._changed:
            self._current = context
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._current is not None)
                context = self._current
            if context is not None and not self._ended(context, within=self._lease_seconds / 3):
                self._beat(context)

    def _ended(self, context: Context, *, within: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._current is not context, timeout=within)

    def _beat(self, context: Context) -> None:
        try:
            with self._engine.begin() as tx:
                if not store.heartbeat(tx, context.job, lease_seconds=self._lease_seconds):
                    context.lose()
        except SQLAlchemyError as error:
            # The job may well end before the lease does; if not, the fence decides.
            log.warning("lease.heartbeat_failed", job_id=str(context.job.id), error=str(error))
