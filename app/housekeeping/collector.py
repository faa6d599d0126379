"""Drains the broker's dead-letter queue into the ledger, and finds jobs whose message the broker lost."""

import time
from collections.abc import Callable
from itertools import islice

import structlog
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from app.broker.dead_letters import DeadLetterQueue, DeadMessage
from app.broker.topology import Queue
from app.errors import BrokerAway
from app.housekeeping.passages import Passages
from app.ledger.affinity import affinity_of
from app.ledger.aftermath import Aftermaths
from app.ledger.cancel import be_patient
from app.ledger.collect import Fate, collect, keep_raw
from app.ledger.contract import Catalog
from app.ledger.rescue import rescue_unheard
from app.settings import Settings

log = structlog.get_logger()

BATCH = 100


class Collector:
    """Keeps a connection to the broker, and makes a new one after it broke. `clock` is in seconds and only ever rises."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        catalog: Catalog,
        aftermaths: Aftermaths,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._catalog = catalog
        self._aftermaths = aftermaths
        self._affinity = affinity_of(settings, catalog)
        self._patience = settings.rescue_after_seconds
        self._clock = clock
        self._passages = Passages(engine, self._affinity, seconds=self._patience, clock=clock)
        self._queue: DeadLetterQueue | None = None
        self._busy: list[DeadMessage] = []
        self._empty_since: dict[str, float] = {}

    def step(self) -> bool:
        """One look for lost messages, then one batch of dead ones; True when more are waiting.

        Raises BrokerAway, and the database's errors while that is away. Whatever goes wrong, a message
        that was taken and not kept goes back to the queue.
        """
        try:
            return self._step()
        except BaseException as error:
            if isinstance(error, BrokerAway):  # what it says when it is back is a beginning
                self._empty_since.clear()
            self.close()
            raise

    def close(self) -> None:
        """Messages that were taken and not kept go back to the queue."""
        self._busy = []
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def _step(self) -> bool:
        queue = self._queue = self._queue or DeadLetterQueue(self._settings, self._affinity)
        # First, so that nothing is taken while the database is away, and no dead message is in the way.
        rescued = sum(self._rescue(queue, name.value) for name in Queue)
        messages = [*self._busy, *islice(iter(queue.take, None), BATCH - len(self._busy))]
        self._busy = []
        for message in messages:
            if self._passages.came_through(message) or self._keep(message):
                queue.acknowledge(message.tag)
            else:  # not given back: the broker counts that, and may have a limit
                self._busy.append(message)
        return (len(messages) == BATCH and not self._busy) or rescued > 0

    def _keep(self, message: DeadMessage) -> bool:
        """Whether the message has found its place; else its job is held by somebody just now."""
        try:
            fate = self._collect(message)
        except (OperationalError, InterfaceError) as error:
            if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            log.info("dead_letter.job_busy", job_id=str(message.job_id))
            return False
        log.info(
            "dead_letter.collected",
            fate=fate.value,
            reason=message.reason,
            queue=message.queue,
            kind=message.kind,
            job_id=str(message.job_id),
        )
        return True

    def _collect(self, message: DeadMessage) -> Fate:
        try:
            with self._engine.begin() as tx:
                be_patient(tx)
                return collect(tx, self._catalog, self._aftermaths, message)
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:
            log.exception("dead_letter.collector_fault", job_id=str(message.job_id))
            with self._engine.begin() as tx:
                return keep_raw(tx, message, fault)

    def _rescue(self, queue: DeadLetterQueue, name: str) -> int:
        empty = self._stays_empty(name, queue.ready(name))
        passed = self._passages.look(queue, name)
        with self._engine.begin() as tx:
            rescued = rescue_unheard(
                tx,
                name,
                empty=empty,
                seconds=self._patience,
                apart=self._affinity.kinds,
                passed=passed,
            )
        for job_id in rescued:
            log.warning("job.rescued", job_id=str(job_id), queue=name, reason="message_lost")
        return len(rescued)

    def _stays_empty(self, name: str, ready: int) -> bool:
        """Whether every look has found nothing for as long as a job may take from the queue to its claim. One look says
        little: a worker that has just started may have the message in hand, and a broker that has, not know of it yet.
        """
        if ready:
            self._empty_since.pop(name, None)
            return False
        now = self._clock()
        return now - self._empty_since.setdefault(name, now) >= self._patience
