"""Three ways to run the workers of a day: one queue, shards with fixed workers, pools that follow the lag."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from app.scaling.policy import Seen, Wanted, decide
from bench.autoscale_scalers import Scaler
from bench.autoscale_traffic import DAY, MIX, Day
from bench.queue_simulation import Seconds, waits

TENANT_SHARDS = 2
FINE_SECONDS = 1.0
"""A pool is over a burst when whoever comes next waits no longer than this."""
Chosen = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`waits` of all jobs, by arrival. `timeline` is (second, workers) of every change, where there are any."""

    waits: Seconds
    worker_seconds: float
    ceiling_workers: int
    recoveries: Sequence[float]
    timeline: Sequence[tuple[float, int]] = field(default_factory=tuple)

    @property
    def most_workers(self) -> int:
        """At any moment: so many need room."""
        return max((workers for _, workers in self.timeline), default=self.ceiling_workers)

    def percentile(self, share: float) -> float:
        return float(np.quantile(self.waits, share))


def one_queue(day: Day, workers: int) -> Outcome:
    """Everything in one line, first come, first served."""
    waited = waits(day.arrivals, day.durations, workers)
    everything = np.ones(len(waited), dtype=bool)
    return Outcome(waited, workers * DAY, workers, recoveries(day, waited, [everything]))


def sharded(day: Day, workers: int) -> Outcome:
    """A shard for each queue and half of the tenants; workers by the shards' work, known in advance."""
    shard = day.queue * TENANT_SHARDS + day.tenant % TENANT_SHARDS
    chosen = [shard == number for number in range(len(MIX) * TENANT_SHARDS)]
    share = divided(workers, [float(day.durations[one].sum()) for one in chosen])
    waited = np.zeros(len(shard))
    for one, count in zip(chosen, share, strict=True):
        waited[one] = waits(day.arrivals[one], day.durations[one], count)
    return Outcome(waited, sum(share) * DAY, sum(share), recoveries(day, waited, chosen))


def divided(workers: int, work: Sequence[float]) -> list[int]:
    """Whole workers in proportion to work, at least one each."""
    share = [1] * len(work)
    for _ in range(workers - len(work)):
        neediest = max(range(len(work)), key=lambda number: work[number] / share[number])
        share[neediest] += 1
    return share


def following(day: Day, scaler: Scaler) -> Outcome:
    """A pool for each queue, scaled by the policy from what the scaler sees every `poll_seconds`."""
    chosen = [day.queue == number for number in range(len(MIX))]
    waited = np.zeros(len(day.queue))
    pools = [
        ElasticPool(day.arrivals[one], day.durations[one], scaler, everybody=day.arrivals)
        for one in chosen
    ]
    for one, pool in zip(chosen, pools, strict=True):
        waited[one] = pool.run()
    changes = sorted(change for pool in pools for change in pool.changes)
    workers, timeline = 0, []
    for moment, change in changes:
        workers += change
        timeline.append((moment, workers))
    policy = scaler.policy
    return Outcome(
        waited,
        sum(pool.worker_seconds for pool in pools),
        len(pools) * policy.max_replicas * policy.workers_per_replica,
        recoveries(day, waited, chosen),
        timeline,
    )


class ElasticPool:
    """One queue and workers that come and go.

    A worker costs from the decision to start it until it has ended; told to end, it finishes its job. Those
    that are free first go first. `everybody` are the arrivals in all pools.
    """

    def __init__(
        self, arrivals: Seconds, durations: Seconds, scaler: Scaler, *, everybody: Seconds
    ) -> None:
        self._arrivals: list[float] = arrivals.tolist()
        self._durations = durations
        self._starts = np.zeros(len(arrivals))
        self._everybody = everybody
        self._scaler = scaler
        self._policy = policy = scaler.policy
        self._replicas = policy.min_replicas
        workers = policy.min_replicas * policy.workers_per_replica
        self._free = [0.0] * workers
        self._history: list[Wanted] = []
        self._ended: list[tuple[float, int]] = []
        self.worker_seconds = 0.0
        self.changes: list[tuple[float, int]] = [(0.0, workers)]

    def run(self) -> Seconds:
        """How long each job waits."""
        tick, starts, free = self._policy.poll_seconds, self._starts, self._free
        for number, duration in enumerate(self._durations.tolist()):
            arrival = self._arrivals[number]
            start = max(arrival, free[0])
            while start >= tick:
                self._look(tick, begun=number)
                tick += self._policy.poll_seconds
                start = max(arrival, free[0])
            heapreplace(free, start + duration)
            starts[number] = start
        while tick < DAY:
            self._look(tick, begun=len(starts))
            tick += self._policy.poll_seconds
        self.worker_seconds += sum(max(DAY, one) for one in free)
        waited: Seconds = starts - self._arrivals
        return waited

    def _look(self, now: float, *, begun: int) -> None:
        target, self._history = decide(self._seen(now, begun), self._history, self._policy, now=now)
        self._ended = [one for one in self._ended if one[0] > now - 60]
        gone = sum(number for _, number in self._ended)
        target = self._scaler.within_pace(target, self._replicas, gone)
        if target < self._replicas:
            self._ended.append((now, self._replicas - target))
        self._scale(target - self._replicas, now)
        self._replicas = target

    def _seen(self, now: float, begun: int) -> Seen:
        every = self._scaler.measured_seconds
        measured = max(0.0, ((now / every + 0.5) // 1 - 0.5) * every)
        starts = self._starts[:begun]
        arrived, taken = bisect_right(self._arrivals, measured), _until(starts, measured)
        rate_seconds = self._looks_back(now)
        since = _until(starts, now - rate_seconds)
        lately = self._durations[since:begun]
        ended = lately[starts[since:] + lately <= now]
        return Seen(
            backlog=arrived - taken,
            oldest_seconds=now - self._arrivals[taken] if arrived > taken else 0.0,
            arrival_rate=(begun - since) / rate_seconds,
            mean_seconds=float(ended.mean()) if len(ended) else 0.0,
            replicas=self._replicas,
        )

    def _looks_back(self, now: float) -> float:
        longest, jobs = self._scaler.rate_seconds, self._scaler.rate_jobs
        if jobs is None:
            return longest
        newest = _until(self._everybody, now)
        oldest = float(self._everybody[newest - jobs]) if newest >= jobs else 0.0
        return min(longest, max(1.0, now - oldest))

    def _scale(self, replicas: int, now: float) -> None:
        for number in range(replicas * self._policy.workers_per_replica):
            ready = self._scaler.ready_seconds + number * self._scaler.each_seconds
            heappush(self._free, now + ready)
            self.worker_seconds -= now
            self.changes.append((now, 1))
        for _ in range(-replicas * self._policy.workers_per_replica):
            ended = max(now, heappop(self._free))
            self.worker_seconds += ended
            self.changes.append((ended, -1))


def _until(moments: Seconds, moment: float) -> int:
    """How many of the sorted moments are not after it."""
    return int(np.searchsorted(moments, moment, side="right"))


def recoveries(day: Day, waited: Seconds, pools: Sequence[Chosen]) -> list[float]:
    """Of each burst: seconds from its end until somebody who comes waits no longer than usual, in each pool."""
    back = np.zeros(len(day.bursts))
    for chosen in pools:
        fine = day.arrivals[chosen][waited[chosen] <= FINE_SECONDS]
        first = np.searchsorted(fine, day.bursts + day.burst_seconds)
        moments = np.append(fine, DAY)[first]
        back = np.maximum(back, moments - day.bursts - day.burst_seconds)
    return [float(one) for one in back]
