"""Keeps the lease of the running job alive, from one thread per child process.

The thread looks now and then whether a job is still the one that it saw the last time. Most jobs end long
before, and then this costs neither a query nor a lock: being woken for each would cost a small job a tenth.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.ledger import store
from app.logs import cause
from workers.runtime.context import Context

log = structlog.get_logger()

LOOKS_PER_LEASE = 4
"""The first heartbeat comes when a quarter to a half of the lease is over, the others each quarter."""


class LeaseKeeper:
    """One job at a time: `keep` wraps its run."""

    def __init__(self, engine: Engine, *, lease_seconds: float) -> None:
        self._engine = engine
        self._lease_seconds = lease_seconds
        self._current: Context | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, context: Context) -> Iterator[None]:
        """Extend the context's lease well before it ends, until the block ends."""
        self._current = context
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._current = None

    def _run(self) -> None:
        seen: Context | None = None
        while True:
            time.sleep(self._lease_seconds / LOOKS_PER_LEASE)
            if seen is not None and seen is self._current:
                self._beat(seen)
            seen = self._current

    def _beat(self, context: Context) -> None:
        try:
            with self._engine.begin() as tx:
                if not store.heartbeat(tx, context.job, lease_seconds=self._lease_seconds):
                    context.lose()
        except SQLAlchemyError as error:
            # The job may well end before the lease does; if not, the fence decides.
            log.warning("lease.heartbeat_failed", job_id=str(context.job.id), error=cause(error))
