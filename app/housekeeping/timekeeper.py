"""What is due by the clock, the database's own: deadlines and leases."""

import time
from itertools import takewhile

import structlog
from sqlalchemy import Engine

from app.ledger.aftermath import Aftermaths
from app.ledger.deadlines import expire_next
from app.ledger.rescue import drop_orphans, rescue_expired_leases

log = structlog.get_logger()

BATCH = 100
ORPHAN_SECONDS = 60.0


class Timekeeper:
    """Each step is a few short transactions."""

    def __init__(self, engine: Engine, aftermaths: Aftermaths) -> None:
        self._engine = engine
        self._aftermaths = aftermaths
        self._swept = float("-inf")

    def step(self) -> bool:
        """One small batch of each; True when one of them was full."""
        with self._engine.begin() as tx:
            rescued = rescue_expired_leases(tx, limit=BATCH)
        for job_id in rescued:
            log.warning("job.rescued", job_id=str(job_id), reason="lease_expired")
        expired = sum(1 for _ in takewhile(bool, (self._expire() for _ in range(BATCH))))
        if time.monotonic() - self._swept >= ORPHAN_SECONDS:
            self._sweep()
        return BATCH in {expired, len(rescued)}

    def _expire(self) -> bool:
        with self._engine.begin() as tx:
            return expire_next(tx, self._aftermaths)

    def _sweep(self) -> None:
        """Seldom: it looks through the whole backlog, for rows that should not be there."""
        with self._engine.begin() as tx:
            dropped = drop_orphans(tx, seconds=ORPHAN_SECONDS, limit=BATCH)
        for job_id in dropped:
            log.warning("outbox.orphan_dropped", job_id=str(job_id))
        self._swept = time.monotonic()
