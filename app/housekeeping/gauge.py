"""Measures the backlog, as seldom as it is expensive; and says that this dispatcher is there."""

import os
import socket
import time
from collections.abc import Mapping

from sqlalchemy import Engine

from app.broker.topology import Queue
from app.ledger import processes
from app.ledger.backlog import measure_backlog

SECONDS = 2.0
SHARE = 20
"""Measuring takes at most a twentieth of one connection's time."""


class Gauge:
    """Any number of dispatchers may have one: the first that comes measures."""

    def __init__(self, engine: Engine, successes: Mapping[str, float] | None = None) -> None:
        self._engine = engine
        self._successes = {} if successes is None else successes
        self._not_before = 0.0
        self._beat_at = float("-inf")

    def step(self) -> bool:
        """Measure, if it is time; never more at once."""
        began = time.monotonic()
        if began - self._beat_at >= processes.SECONDS:
            self._beat()
            self._beat_at = began
        if began < self._not_before:
            return False
        with self._engine.begin() as tx:
            measured = measure_backlog(tx, [queue.value for queue in Queue], seconds=SECONDS / 2)
        if measured:
            self._not_before = began + max(SECONDS, SHARE * (time.monotonic() - began))
        return False

    def _beat(self) -> None:
        name = f"dispatcher@{socket.gethostname()}:{os.getpid()}"
        chores = dict(self._successes)
        with self._engine.begin() as tx:
            processes.beat(tx, name=name, role="dispatcher", chores=chores)
