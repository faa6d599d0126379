"""Since when each shard of a pool has been passed: all that was in it then has been taken by a worker, or was lost.

An empty shard is passed. Through one that isn't a mark is sent: a message that lives for no time at all. A quorum queue
lets such a message go when nothing is before it any more, and so the mark comes to the dead letters, and tells when it
was sent. Whoever reads it there may have sent it or not.

What a worker has taken it has not claimed yet: a passage counts only after a while.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from app.broker.affinity import Affinity, mark_of
from app.broker.dead_letters import DeadLetterQueue, DeadMessage

_NOW = text("""
    SELECT clock_timestamp() AS now, EXISTS (
        SELECT FROM in_flight WHERE queue = :pool AND kind = ANY(CAST(:kinds AS text[]))
        AND queued_at < clock_timestamp() - make_interval(secs => :seconds)
    ) AS some_wait
""")
LOST_AFTER = 10
"""So many times `seconds` a mark is waited for before another is sent."""
STEPS = 10
"""So many parts of `seconds` are told apart."""


class Passages:
    """What one process has seen. Times are the database's; how long it is known is told by the `clock`, in seconds."""

    def __init__(
        self,
        engine: Engine,
        affinity: Affinity,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._affinity = affinity
        self._seconds = seconds
        self._passed: dict[str, datetime] = {}
        self._sent: dict[str, datetime] = {}
        self._clock = clock
        self._known: dict[str, deque[tuple[float, datetime | None]]] = {}

    def look(self, queue: DeadLetterQueue, pool: str) -> datetime | None:
        """Every shard of the pool has been passed since then, as was known `seconds` ago; None: one of them never was,
        or the pool has none. Where jobs of such kinds have been in flight for `seconds`, marks are sent. Raises BrokerAway.
        """
        shards = [shard.name for shard in self._affinity.shards_of(pool)]
        if not shards:
            return None
        asked = {"pool": pool, "kinds": list(self._affinity.kinds), "seconds": self._seconds}
        with self._engine.begin() as tx:
            now, some_wait = tx.execute(_NOW, asked).one()
        for shard in shards:
            if queue.ready(shard) == 0:
                self._note(shard, now)
            elif some_wait and self._wants_mark(shard, now):
                queue.mark(shard, now)
                self._sent[shard] = now
        return self._counting(pool, self._oldest(shards))

    def came_through(self, message: DeadMessage) -> bool:
        """Whether the message is a mark; it is noted then."""
        mark = mark_of(message.headers)
        if mark is None:
            return False
        self._note(*mark)
        return True

    def _note(self, shard: str, at: datetime) -> None:
        self._passed[shard] = max(at, self._passed.get(shard, at))

    def _wants_mark(self, shard: str, now: datetime) -> bool:
        sent, passed = self._sent.get(shard), self._passed.get(shard)
        if sent is None:
            return True
        under_way = passed is None or passed < sent
        patience = self._seconds * (LOST_AFTER if under_way else 1)
        return now - sent >= timedelta(seconds=patience)

    def _counting(self, pool: str, passed: datetime | None) -> datetime | None:
        now = self._clock()
        known = self._known.setdefault(pool, deque())
        if known and now - known[-1][0] < self._seconds / STEPS:
            now, _ = known.pop()
        known.append((now, passed))
        until = self._clock() - self._seconds
        while len(known) > 1 and known[1][0] <= until:
            known.popleft()
        since, counts = known[0]
        return counts if since <= until else None

    def _oldest(self, shards: Collection[str]) -> datetime | None:
        if any(shard not in self._passed for shard in shards):
            return None
        return min(self._passed[shard] for shard in shards)
