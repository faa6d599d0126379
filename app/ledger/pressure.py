"""What presses on a pool of workers now: what waits, what arrives and how long it takes, for who scales it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from app.ledger.depth import read_depths
from app.ledger.processes import MISSED_BEATS, SECONDS

LINES = 4_000
"""So much of the history's end is looked at, of all queues together: rates and durations are of late."""

_OF_LATE = text("""
    WITH steps AS (
        SELECT job_id, event, at, lead(at) OVER (PARTITION BY job_id ORDER BY id) AS ended
        FROM job_history WHERE id > (SELECT max(id) FROM job_history) - :lines
    )
    SELECT count(*) FILTER (WHERE s.event = 'dispatch' AND j.queue = ANY(:queues)
                              AND s.at > clock_timestamp() - make_interval(secs => :seconds)) AS arrived,
           least(:seconds, extract(epoch FROM clock_timestamp() - min(s.at)))::float AS over_seconds,
           coalesce(avg(extract(epoch FROM s.ended - s.at)) FILTER (
               WHERE s.event IN ('claim', 'take_over') AND j.queue = ANY(:queues)), 0)::float AS mean
    FROM steps s JOIN jobs j ON j.id = s.job_id
""")
_POOLS = text("""
    SELECT count(*) FROM processes
    WHERE role = 'worker' AND queues = :queues
      AND seen_at > clock_timestamp() - make_interval(secs => :seconds)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """On one of the `pools` that take these queues' jobs: its even share of what is due and not begun, and of
    what arrives per second. `mean_seconds` is 0 while no attempt has ended of late. Nothing waits where all
    that is due is paused: nobody is late.
    """

    backlog: float
    oldest_seconds: float
    arrival_rate: float
    mean_seconds: float
    pools: int


def read_pressure(tx: Connection, queues: Sequence[str], *, seconds: float) -> Pressure:
    """Of these queues together, arrivals over the last `seconds`. Bounded; raises OperationalError when the
    database takes too long.
    """
    depths = [depth for depth in read_depths(tx) if depth.queue in queues]
    span = {"lines": LINES, "queues": list(queues), "seconds": seconds}
    late = tx.execute(_OF_LATE, span).one()
    here = {"queues": ", ".join(sorted(queues)), "seconds": MISSED_BEATS * SECONDS}
    pools = max(1, tx.execute(_POOLS, here).scalar_one())
    oldest = max((depth.oldest_seconds for depth in depths), default=0.0)
    backlog = sum(depth.due + depth.queued for depth in depths) if oldest else 0
    rate = late.arrived / max(1.0, late.over_seconds or 0.0)
    return Pressure(
        backlog=backlog / pools,
        oldest_seconds=oldest,
        arrival_rate=rate / pools,
        mean_seconds=max(0.0, late.mean),
        pools=pools,
    )
