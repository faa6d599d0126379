"""What is due by the clock, the database's own: deadlines and leases; and what takes its time: cancels on
their way to many jobs, jobs that wait in vain.
"""

import time
from collections.abc import Callable
from itertools import takewhile
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.aftermath import Aftermaths
from app.ledger.deadlines import expire_next
from app.ledger.doomed import end_next_doomed
from app.ledger.rescue import drop_orphans, release_stalled, rescue_expired_leases
from app.ledger.spreading import spread_next

log = structlog.get_logger()

BATCH = 100
ORPHAN_SECONDS = 60.0
STANDSTILL_SECONDS = 10.0
"""Between two looks at the leases is a second: what takes longer had to wait for a database that was away."""


class Timekeeper:
    """Each step is a few short transactions. Leases are those of `lease_seconds`."""

    def __init__(
        self,
        engine: Engine,
        aftermaths: Aftermaths,
        *,
        lease_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._aftermaths = aftermaths
        self._grace_seconds = lease_seconds / 2
        self._clock = clock
        self._leases_from = float("-inf")
        self._asked_at = float("inf")
        self._has_looked = True
        self._swept = float("-inf")

    def step(self) -> bool:
        """One small batch of each; True when one of them was full."""
        rescued = self._rescue()
        for job_id in rescued:
            log.warning("job.rescued", job_id=str(job_id), reason="lease_expired")
        expired = self._one_by_one(expire_next)
        doomed = self._one_by_one(end_next_doomed)
        spreading = self._spread()
        if time.monotonic() - self._swept >= ORPHAN_SECONDS:
            self._sweep()
        return spreading or BATCH in {expired, doomed, len(rescued)}

    def _rescue(self) -> list[UUID]:
        """Nobody could keep a lease while the database was away, or stood still: when it is back, all have run out, of
        those that are at work as well. So their workers have time to say so first; but only once between two looks.
        """
        asked = self._clock()
        if asked - self._asked_at > STANDSTILL_SECONDS:
            self._wait()
        try:
            with self._engine.connect() as tx:
                waits = asked < self._leases_from
                rescued = _ask(tx) if waits else rescue_expired_leases(tx, limit=BATCH)
                if not waits and self._clock() - asked > STANDSTILL_SECONDS and self._wait():
                    return []
                tx.commit()
        except SQLAlchemyError:
            self._has_looked = True  # each failure begins the wait anew
            self._wait()
            raise
        finally:
            self._asked_at = self._clock()
        self._has_looked = self._has_looked or not waits
        return rescued

    def _wait(self) -> bool:
        """Whether leases are left alone for a while from now on: there was a look since the last time."""
        begins, self._has_looked = self._has_looked, False
        if begins:
            self._leases_from = self._clock() + self._grace_seconds
        return begins

    def _one_by_one(self, end_next: Callable[[Connection, Aftermaths], bool]) -> int:
        """Each in a transaction of its own; how many they were, at most BATCH."""

        def end() -> bool:
            with self._engine.begin() as tx:
                return end_next(tx, self._aftermaths)

        return sum(1 for _ in takewhile(bool, (end() for _ in range(BATCH))))

    def _spread(self) -> bool:
        """Bring every cancel a step further; True when one has more to do at once."""
        behind: UUID | None = None
        busy = False
        while True:
            with self._engine.begin() as tx:
                step = spread_next(tx, self._aftermaths, behind=behind)
            if step is None:
                return busy
            behind, busy = step.id, busy or step.more

    def _sweep(self) -> None:
        """Seldom: it looks through the whole backlog, for rows that should not be there."""
        with self._engine.begin() as tx:
            dropped = drop_orphans(tx, seconds=ORPHAN_SECONDS, limit=BATCH)
        with self._engine.begin() as tx:
            released = release_stalled(tx, limit=BATCH)
        if released:
            log.warning("batch.stalled", released=released)
        for job_id in dropped:
            log.warning("outbox.orphan_dropped", job_id=str(job_id))
        self._swept = time.monotonic()


def _ask(tx: Connection) -> list[UUID]:
    """Whether the database is there, and nothing more."""
    tx.execute(text("SELECT 1"))
    return []
