"""A period's figures from the ledger's own history: what arrived at each queue, and how long it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from app.capacity.durations import Durations
from app.capacity.plan import Demand
from app.db import database_time

MINUTE = 60
HOUR_MINUTES = 60
CLOCKS_APART = timedelta(minutes=20)
"""History rows get their number before they are committed: a job's hard limit, and some, out of order."""
BETWEEN_JOBS_SECONDS = 0.003
"""What a child spends between two jobs where the history doesn't say: of brief jobs, on a small machine."""
_FEWEST_PAUSES = 20

_LIMIT = text("SET LOCAL statement_timeout = '120s'")
_MAX_CONNECTIONS = text("SELECT current_setting('max_connections')::int")
_BOUNDS = text("SELECT min(id), max(id) FROM job_history")
_AT = text("SELECT id, at FROM job_history WHERE id >= :id ORDER BY id LIMIT 1")
# Of an attempt, until whatever came next in its job's history: its end, or another that took it over.
_ATTEMPTS = text("""
    WITH steps AS (
        SELECT job_id, event, at, lead(at) OVER (PARTITION BY job_id ORDER BY id) AS ended
        FROM job_history WHERE id >= :first
    ), attempts AS (
        SELECT job_id, greatest(extract(epoch FROM ended - at), 0)::float8 AS seconds
        FROM steps
        WHERE event IN ('claim', 'take_over') AND ended IS NOT NULL AND at >= :since AND at < :until
    )
    SELECT j.queue, j.kind, count(*) AS attempts, avg(seconds) AS mean,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95,
           coalesce(var_pop(seconds) / nullif(avg(seconds) ^ 2, 0), 0) AS scv
    FROM attempts a JOIN jobs j ON j.id = a.job_id
    GROUP BY GROUPING SETS ((j.queue), (j.queue, j.kind))
    ORDER BY j.queue, j.kind NULLS FIRST
""")
_ARRIVALS = text("""
    SELECT j.queue, floor(extract(epoch FROM h.at - CAST(:since AS timestamptz)) / 60)::int AS minute,
           count(*) AS jobs
    FROM job_history h JOIN jobs j ON j.id = h.job_id
    WHERE h.id >= :first AND h.event = 'dispatch' AND h.at >= :since AND h.at < :until
    GROUP BY j.queue, minute
""")
# From an end to the next claim of a job that was due before, on a worker where nothing else happened just before: so it is
# the same child's, for the history doesn't say which one it was. What takes longer is a restart. Of the latest lines alone,
# which are enough.
_PAUSES = text("""
    WITH steps AS (
        SELECT job_id, event, at, lag(at) OVER of_worker AS ended, lag(event) OVER of_worker AS ended_by,
               lag(at, 2) OVER of_worker AS before
        FROM job_history
        WHERE id >= :first AND id > (SELECT max(id) FROM job_history) - 200000 AND worker IS NOT NULL
        WINDOW of_worker AS (PARTITION BY worker ORDER BY at, id)
    )
    SELECT j.queue, count(*) AS pauses, avg(extract(epoch FROM s.at - s.ended))::float8 AS seconds
    FROM steps s JOIN jobs j ON j.id = s.job_id
    WHERE s.event = 'claim' AND s.ended_by NOT IN ('claim', 'take_over') AND j.run_at < s.ended
      AND s.before < s.ended - interval '50 milliseconds'
      AND s.at < s.ended + interval '250 milliseconds'
    GROUP BY j.queue
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One queue, or one kind of its jobs. `attempts` ended in the period; durations are of attempts."""

    queue: str
    kind: str | None
    attempts: int
    durations: Durations


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Per second: the whole period's, and its busiest hour's. `scv` is of that hour, by the minute."""

    mean_rate: float
    peak_rate: float
    scv: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A demand for each queue whose jobs ran, the figures of each kind, and how many jobs were dispatched to each queue
    where no attempt has ended: its workers are away, or its jobs take longer than the period. A load that is given has
    the first alone.
    """

    demands: Sequence[Demand]
    kinds: Sequence[Measured] = ()
    unended: Mapping[str, int] = field(default_factory=dict)


def measure(tx: Connection, period: timedelta) -> Found:
    """What the history of the period until now says.

    Arrivals are dispatches, a retry's included: each is an attempt that a worker has to make. Reads the
    history of the period once or twice; not longer than two minutes (sqlalchemy.exc.OperationalError).
    """
    tx.execute(_LIMIT)
    until = database_time(tx)
    since = until - period
    span = {"since": since, "until": until, "first": first_since(tx, since - CLOCKS_APART)}
    figures = [
        Measured(
            queue=row.queue,
            kind=row.kind,
            attempts=row.attempts,
            durations=Durations(row.mean, row.scv, row.p50, row.p95),
        )
        for row in tx.execute(_ATTEMPTS, span)
    ]
    minutes: dict[str, dict[int, int]] = {}
    for row in tx.execute(_ARRIVALS, span):
        minutes.setdefault(row.queue, {})[row.minute] = row.jobs
    pauses = {
        row.queue: row.seconds for row in tx.execute(_PAUSES, span) if row.pauses >= _FEWEST_PAUSES
    }
    demands = [
        demand_of(one, arrivals(minutes[one.queue], period), pauses.get(one.queue))
        for one in figures
        if one.kind is None and one.queue in minutes and one.durations.mean > 0
    ]
    planned = {one.pool for one in demands}
    return Found(
        demands=demands,
        kinds=[one for one in figures if one.kind is not None],
        unended={name: sum(minutes[name].values()) for name in sorted(minutes.keys() - planned)},
    )


def max_connections(tx: Connection) -> int:
    """What PostgreSQL is set to."""
    return int(tx.execute(_MAX_CONNECTIONS).scalar_one())


def first_since(tx: Connection, moment: datetime) -> int:
    """The id of the first line of the history from about `moment` on: by halving, for it has no index on
    its time.
    """
    low, high = tx.execute(_BOUNDS).one()
    if low is None:
        return 0
    while low < high:
        middle = (low + high) // 2
        at: datetime = tx.execute(_AT, {"id": middle}).one().at
        low, high = (middle + 1, high) if at < moment else (low, middle)
    return int(low)


def arrivals(minutes: Mapping[int, int], period: timedelta) -> Arrivals:
    """From the number of jobs in each minute of the period; minutes without any are left out.

    How bursty they are is the variance of the busiest hour's minutes over their mean, which is 1 for
    Poisson's, and more where they come in bursts.
    """
    length = max(1, round(period.total_seconds() / MINUTE))
    counts = [minutes.get(minute, 0) for minute in range(length)]
    width = min(HOUR_MINUTES, length)
    running = sum(counts[:width])
    best, begin = running, 0
    for minute in range(1, length - width + 1):
        running += counts[minute + width - 1] - counts[minute - 1]
        if running > best:
            best, begin = running, minute
    hour = counts[begin : begin + width]
    return Arrivals(
        mean_rate=sum(counts) / (length * MINUTE),
        peak_rate=best / (width * MINUTE),
        scv=dispersion(hour),
        jobs=sum(counts),
    )


def dispersion(counts: Sequence[int]) -> float:
    """Variance over mean of jobs per minute: in the long run the squared coefficient of variation of the
    gaps between them. 1 where there is too little to tell.
    """
    mean = sum(counts) / len(counts)
    if mean == 0 or len(counts) < 2:  # noqa: PLR2004 - one minute has no variance
        return 1.0
    return sum((count - mean) ** 2 for count in counts) / (len(counts) - 1) / mean


def demand_of(measured: Measured, came: Arrivals, pause: float | None) -> Demand:
    """The busiest hour is what has to be served. `pause` is between two jobs of a worker that has enough to do."""
    return Demand(
        pool=measured.queue,
        rate=came.peak_rate,
        mean_rate=came.mean_rate,
        jobs=came.jobs,
        durations=measured.durations,
        scv_arrivals=came.scv,
        overhead=BETWEEN_JOBS_SECONDS if pause is None else pause,
        source="measured",
    )
