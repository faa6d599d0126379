"""Three ways to run the workers of a day: one queue, shards with fixed workers, pools that follow the lag."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from app.scaling.policy import ScalingPolicy, Seen, Wanted, decide
from bench.autoscale_traffic import DAY, MIX, Day
from bench.queue_simulation import Seconds, waits

START_UP = 20.0
"""From the decision until a new replica takes its first job: scheduling, image at hand, Celery's start."""
RATE_WINDOW = 60.0
MEAN_OF = 1000
"""A pool's mean duration is that of so many jobs, the last to begin."""
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


def following(day: Day, policy: ScalingPolicy, *, start_up: float = START_UP) -> Outcome:
    """A pool for each queue, scaled by the policy from what a scaler sees every `poll_seconds`."""
    chosen = [day.queue == number for number in range(len(MIX))]
    waited = np.zeros(len(day.queue))
    pools = [
        ElasticPool(day.arrivals[one], day.durations[one], policy, start_up=start_up)
        for one in chosen
    ]
    for one, pool in zip(chosen, pools, strict=True):
        waited[one] = pool.run()
    changes = sorted(change for pool in pools for change in pool.changes)
    workers, timeline = 0, []
    for moment, change in changes:
        workers += change
        timeline.append((moment, workers))
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
    that are free first go first.
    """

    def __init__(
        self, arrivals: Seconds, durations: Seconds, policy: ScalingPolicy, *, start_up: float
    ) -> None:
        self._arrivals: list[float] = arrivals.tolist()
        self._durations: list[float] = durations.tolist()
        self._work = np.concatenate(([0.0], np.cumsum(durations)))
        self._policy = policy
        self._start_up = start_up
        self._replicas = policy.min_replicas
        workers = policy.min_replicas * policy.workers_per_replica
        self._free = [0.0] * workers
        self._history: list[Wanted] = []
        self.worker_seconds = 0.0
        self.changes: list[tuple[float, int]] = [(0.0, workers)]

    def run(self) -> Seconds:
        """How long each job waits."""
        waited: list[float] = []
        tick = self._policy.poll_seconds
        for number, arrival in enumerate(self._arrivals):
            start = max(arrival, self._free[0])
            while start >= tick:
                self._look(tick, begun=number)
                tick += self._policy.poll_seconds
                start = max(arrival, self._free[0])
            heapreplace(self._free, start + self._durations[number])
            waited.append(start - arrival)
        while tick < DAY:
            self._look(tick, begun=len(self._arrivals))
            tick += self._policy.poll_seconds
        self.worker_seconds += sum(max(DAY, free) for free in self._free)
        return np.array(waited)

    def _look(self, now: float, *, begun: int) -> None:
        arrived = bisect_right(self._arrivals, now)
        lately = arrived - bisect_right(self._arrivals, now - RATE_WINDOW)
        counted = min(begun, MEAN_OF)
        seen = Seen(
            backlog=arrived - begun,
            oldest_seconds=now - self._arrivals[begun] if arrived > begun else 0.0,
            arrival_rate=lately / RATE_WINDOW,
            mean_seconds=float(self._work[begun] - self._work[begun - counted]) / max(counted, 1),
            replicas=self._replicas,
        )
        target, self._history = decide(seen, self._history, self._policy, now=now)
        self._scale(target - self._replicas, now)
        self._replicas = target

    def _scale(self, replicas: int, now: float) -> None:
        for _ in range(replicas * self._policy.workers_per_replica):
            heappush(self._free, now + self._start_up)
            self.worker_seconds -= now
            self.changes.append((now, 1))
        for _ in range(-replicas * self._policy.workers_per_replica):
            ended = max(now, heappop(self._free))
            self.worker_seconds += ended
            self.changes.append((ended, -1))


def recoveries(day: Day, waited: Seconds, pools: Sequence[Chosen]) -> list[float]:
    """Of each burst: seconds from its end until somebody who comes waits no longer than usual, in each pool."""
    back = np.zeros(len(day.bursts))
    for chosen in pools:
        fine = day.arrivals[chosen][waited[chosen] <= FINE_SECONDS]
        first = np.searchsorted(fine, day.bursts + day.burst_seconds)
        moments = np.append(fine, DAY)[first]
        back = np.maximum(back, moments - day.bursts - day.burst_seconds)
    return [float(one) for one in back]
