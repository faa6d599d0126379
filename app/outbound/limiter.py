"""One rate limit over all processes, kept by PostgreSQL, exact as the other server counts.

A request counts from the moment at which it may be sent until one window after its answer has begun to
arrive. The server saw it somewhere in between. So if never more than `limit` requests count at once, the
server never sees more than `limit` in any window, whatever the network and the scheduler do to the time in
between. That costs a little speed: `limit / (window + latency)` is what can be reached.

    limit 50, window 1 s        latency 10 ms: 49/s        50 ms: 47/s        200 ms: 41/s

A request that runs into its time limit, or whose process dies, counts for `hold_seconds`: nobody knows when,
or whether, it arrived. What is not covered: a request that reaches the server later than that, as a process can make it that stands still
between `slot()` and sending for longer than LATENESS_SECONDS; and a database clock that jumps ahead.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from app.db import autocommit
from app.outbound.errors import OutboundError, TimedOut

LATENESS_SECONDS = 5.0
"""A reserved request that hasn't begun by then gives its place back."""

# Times are the database's, read after the row is locked. A window is filled from its front: requests begin
# 0.9 of an even share apart, so that there is no burst and a moment that was missed can be made up for.
_RESERVE = text("""
    UPDATE rate_limits r
    SET (pending, cooling, granted, earliest, next_at) = (
        SELECT kept.pending || new.granted, kept.cooling, new.granted,
               greatest(pace.base, least(plan.starts[1], t.now + t.window)),
               coalesce(new.granted[cardinality(new.granted)] + pace.gap, r.next_at)
        FROM (SELECT clock_timestamp() AS now,
                     make_interval(secs => r.window_seconds) AS window,
                     make_interval(secs => r.hold_seconds) AS hold) AS t
        CROSS JOIN LATERAL (
            SELECT t.window * 0.9 / r.per_window AS gap,
                   greatest(t.now, r.next_at, r.blocked_until) AS base) AS pace
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT p FROM unnest(r.pending) AS p
                         WHERE p <> ALL(CAST(:ended AS timestamptz[])) AND p + t.hold > t.now
                   ) AS pending,
                   ARRAY(SELECT c FROM unnest(r.cooling) AS c WHERE c > t.now
                         UNION ALL
                         SELECT t.now - make_interval(secs => e.age) + t.window
                         FROM unnest(CAST(:ended AS timestamptz[]), CAST(:ages AS float8[]))
                              AS e(start, age)
                         WHERE e.age IS NOT NULL AND e.age < r.window_seconds
                           AND e.start = ANY(r.pending)) AS cooling) AS kept
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT f FROM (SELECT p + t.hold AS f FROM unnest(kept.pending) AS p
                                        UNION ALL SELECT unnest(kept.cooling)) AS both_
                         ORDER BY f) AS until) AS counting
        CROSS JOIN LATERAL (
            SELECT ARRAY(
                SELECT pace.gap * i + max(greatest(pace.base,
                           counting.until[cardinality(counting.until) - r.per_window + 1 + i]
                           - pace.gap * i)) OVER (ORDER BY i)
                FROM generate_series(0, least(:wanted, r.per_window) - 1) AS i) AS starts) AS plan
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT s FROM unnest(plan.starts) AS s
                         WHERE s <= t.now + make_interval(secs => :max_wait)) AS granted) AS new
    )
    WHERE tenant_id = :tenant_id AND scope = :scope AND per_window = :limit
      AND window_seconds = :window AND hold_seconds = :hold
    RETURNING granted, earliest, clock_timestamp() AS now
""")
_CONFIGURE = text("""
    INSERT INTO rate_limits AS r (tenant_id, scope, per_window, window_seconds, hold_seconds)
    VALUES (:tenant_id, :scope, :limit, :window, :hold)
    ON CONFLICT (tenant_id, scope) DO UPDATE
    SET per_window = excluded.per_window, window_seconds = excluded.window_seconds,
        hold_seconds = excluded.hold_seconds
""")
_HOLD_OFF = text("""
    UPDATE rate_limits
    SET blocked_until = greatest(blocked_until, clock_timestamp() + make_interval(secs => :seconds))
    WHERE tenant_id = :tenant_id AND scope = :scope
""")
_IS_BLOCKED = text("""
    SELECT blocked_until > clock_timestamp() FROM rate_limits
    WHERE tenant_id = :tenant_id AND scope = :scope
""")
_FORGET = text("DELETE FROM rate_limits WHERE tenant_id = :tenant_id AND scope = :scope")


class RateLimited(Exception):
    """No request may begin within the wait that was allowed; one may after `retry_after` seconds."""

    def __init__(self, scope: str, retry_after: float) -> None:
        super().__init__(f"{scope}: no request may begin for another {retry_after:.1f} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `limit` requests in any `window_seconds`, as the server sees them. `timeout_seconds` is how
    long a request waits for its answer, all phases together, before it is given up.
    """

    limit: int
    window_seconds: float = 1.0
    timeout_seconds: float = 30.0

    @property
    def hold_seconds(self) -> float:
        """How long a request counts whose end nobody reports, such as a killed worker's."""
        return LATENESS_SECONDS + self.timeout_seconds + self.window_seconds


@dataclass(frozen=True, slots=True)
class _Place:
    """A reserved request: `start` is its name in the database, `begin_at` the same by our own clock."""

    start: datetime
    begin_at: float


class Limiter:
    """One process's access to the limit of that scope; not for several threads at once.

    `ahead` reservations are made in one statement; what isn't used is given back by `close`. How a
    request ended is told by the statement that reserves the next, so a request costs one UPDATE, and one
    SELECT where it had to wait.
    """

    def __init__(
        self, engine: Engine, tenant_id: UUID, scope: str, rate: Rate, *, ahead: int = 1
    ) -> None:
        self._engine = engine
        self._rate = rate
        self._ahead = ahead
        self._scope = scope
        self._where = {"tenant_id": tenant_id, "scope": scope}
        self._places: deque[_Place] = deque()
        self._ended: list[tuple[datetime, float | None]] = []

    @contextmanager
    def slot(self, *, max_wait: float) -> Iterator[None]:
        """Wait for a turn, and send one request inside of the block; leave it when its answer has begun.

        Raises RateLimited when the turn is more than `max_wait` seconds away: nothing is reserved then.
        A block that raises leaves open when the request arrives, and it counts for `hold_seconds`; but
        not where OutboundError says that the exchange is over.
        """
        place = self._turn(max_wait)
        try:
            yield
        except TimedOut:
            raise
        except OutboundError:
            self._ended.append((place.start, time.monotonic()))
            raise
        self._ended.append((place.start, time.monotonic()))

    def hold_off(self, seconds: float) -> None:
        """The server said `Retry-After`: nobody begins a request before that. It never shortens."""
        with autocommit(self._engine) as tx:
            tx.execute(_HOLD_OFF, {**self._where, "seconds": seconds})

    def close(self) -> None:
        """Say how the last requests ended and give back what wasn't used."""
        self._ended += [(place.start, None) for place in self._places]
        self._places.clear()
        if self._ended:
            self._reserve(wanted=0, max_wait=0.0)

    def _turn(self, max_wait: float) -> _Place:
        """Sleeps until a place's time has come. One whose time came while the server asked everybody to
        wait, or that this process has overslept, is given back.
        """
        give_up_at = time.monotonic() + max_wait
        while True:
            place = self._places.popleft() if self._places else self._next(give_up_at)
            wait = place.begin_at - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            is_late = time.monotonic() - place.begin_at > LATENESS_SECONDS
            if not is_late and not (wait > 0 and self._is_blocked()):
                return place
            self._ended.append((place.start, None))

    def _next(self, give_up_at: float) -> _Place:
        """Asks again where the turn depends on requests of others that have no answer yet."""
        while not self._places:
            left = give_up_at - time.monotonic()
            try:
                self._places += self._reserve(wanted=self._ahead, max_wait=left)
            except RateLimited as limited:
                if limited.retry_after > left:
                    raise
                time.sleep(limited.retry_after)
        return self._places.popleft()

    def _reserve(self, *, wanted: int, max_wait: float) -> list[_Place]:
        """Raises RateLimited when some are wanted and there is none in time."""
        ended, self._ended = self._ended, []
        now = time.monotonic()
        parameters = {
            **self._where,
            "limit": self._rate.limit,
            "window": self._rate.window_seconds,
            "hold": self._rate.hold_seconds,
            "wanted": wanted,
            "max_wait": max(max_wait, 0.0),
            "ended": [start for start, _ in ended],
            "ages": [None if at is None else now - at for _, at in ended],
        }
        with autocommit(self._engine) as tx:
            row = tx.execute(_RESERVE, parameters).one_or_none()
            if row is None:
                tx.execute(_CONFIGURE, parameters)
                row = tx.execute(_RESERVE, parameters).one()
        answered = time.monotonic()
        if wanted and not row.granted:
            raise RateLimited(self._scope, (row.earliest - row.now).total_seconds())
        return [_Place(at, answered + (at - row.now).total_seconds()) for at in row.granted]

    def _is_blocked(self) -> bool:
        with autocommit(self._engine) as tx:
            return bool(tx.execute(_IS_BLOCKED, self._where).scalar_one_or_none())


def forget_rate(tx: Connection, tenant_id: UUID, scope: str) -> None:
    """The server of that scope is not asked any more."""
    tx.execute(_FORGET, {"tenant_id": tenant_id, "scope": scope})
