"""Measures the backlog, as seldom as it is expensive."""

import time

from sqlalchemy import Engine

from app.broker.topology import Queue
from app.ledger.backlog import measure_backlog

SECONDS = 2.0
SHARE = 20
"""Measuring takes at most a twentieth of one connection's time."""


class Gauge:
    """Any number of dispatchers may have one: the first that comes measures."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._not_before = 0.0

    def step(self) -> bool:
        """Measure, if it is time; never more at once."""
        began = time.monotonic()
        if began < self._not_before:
            return False
        with self._engine.begin() as tx:
            measured = measure_backlog(tx, [queue.value for queue in Queue], seconds=SECONDS / 2)
        if measured:
            self._not_before = began + max(SECONDS, SHARE * (time.monotonic() - began))
        return False
