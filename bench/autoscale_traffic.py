"""A day of jobs, made up openly: when they come, what they are, whose they are, how long they take.

The mix is a SaaS product's, by its queues: many short urgent jobs, some of a second or two, few long ones.
Its figures were chosen before any result was seen, and results depend on them: docs/strategies.md says how.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.queue_simulation import Seconds, lognormal

DAY = 86_400.0
TENANTS = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """A queue's jobs: which share of all they are, how long they take (seconds), how much that varies."""

    queue: str
    share: float
    mean: float
    scv: float


MIX = (
    Kind("high", 0.60, 0.3, 1.0),  # mails, webhooks
    Kind("default", 0.35, 1.5, 2.0),  # chunks of imports, AI
    Kind("low", 0.05, 15.0, 2.0),  # exports, reports
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A traffic model. The rate is a day's wave, `swing` of the mean up and down; `burst_share` of the jobs
    come in `bursts` instead, each within `burst_seconds`, each of one tenant. `shorter` divides durations.
    """

    name: str
    swing: float
    bursts: int = 0
    burst_share: float = 0.0
    burst_seconds: float = 60.0
    shorter: float = 1.0


MODELS = (
    Traffic(name="daily curve and bursts", swing=0.8, bursts=24, burst_share=0.12),
    Traffic(name="steady", swing=0.0),
    Traffic(
        name="daily curve and surges", swing=0.8, bursts=8, burst_share=0.12, burst_seconds=1200.0
    ),
    Traffic(name="storms", swing=0.8, bursts=4, burst_share=0.2, burst_seconds=10.0),
    Traffic(
        name="the first, jobs ten times shorter",
        swing=0.8,
        bursts=24,
        burst_share=0.12,
        shorter=10.0,
    ),
)
"""The first is the case of the table in docs/strategies.md: a million jobs a day, with bursts."""

QUOTED = Traffic(
    name="the quoted table's own", swing=0.8, bursts=4, burst_share=0.127, shorter=14.5
)
"""What would give one static queue a ceiling of 500 jobs/s and a p99 of 4.2 s at a million jobs a day: jobs of 0.1 s,
50 workers, and a few minutes above the ceiling. `burst_share` was set by the static queue's p99 alone."""


@dataclass(frozen=True, slots=True)
class Day:
    """Sorted by arrival. `queue` is an index into MIX; `bursts` are their beginnings, in order."""

    arrivals: Seconds
    durations: Seconds
    queue: NDArray[np.int64]
    tenant: NDArray[np.int64]
    bursts: Seconds
    burst_seconds: float


def make_day(model: Traffic, jobs: int, *, seed: int) -> Day:
    """The same for the same arguments. A shorter list of jobs is the same day with a lower rate."""
    random = np.random.default_rng(seed)
    in_bursts = round(jobs * model.burst_share) if model.bursts else 0
    per_burst = in_bursts // model.bursts if model.bursts else 0
    moments = [_wave(random, model.swing, jobs - per_burst * model.bursts)]
    weights = 1 / np.arange(1, TENANTS + 1)
    owners = [random.choice(TENANTS, jobs - per_burst * model.bursts, p=weights / weights.sum())]
    begins = np.sort(random.uniform(0, DAY * 0.95, model.bursts))
    for begin in begins:
        moments.append(begin + random.uniform(0, model.burst_seconds, per_burst))
        owners.append(np.full(per_burst, random.integers(TENANTS)))
    arrivals, tenant = np.concatenate(moments), np.concatenate(owners)
    order = np.argsort(arrivals, kind="stable")
    queue = random.choice(len(MIX), jobs, p=[kind.share for kind in MIX])
    durations = np.zeros(jobs)
    for number, kind in enumerate(MIX):
        chosen = queue == number
        durations[chosen] = lognormal(random, kind.mean, kind.scv, int(chosen.sum()))
    return Day(
        arrivals=arrivals[order],
        durations=durations / model.shorter,
        queue=queue,
        tenant=tenant[order],
        bursts=begins,
        burst_seconds=model.burst_seconds,
    )


def _wave(random: Generator, swing: float, jobs: int) -> Seconds:
    """A Poisson process of that many jobs whose rate is lowest at midnight and highest at noon."""
    seconds = np.arange(int(DAY))
    rate = 1 - swing * np.cos(2 * np.pi * seconds / DAY)
    counts = random.multinomial(jobs, rate / rate.sum())
    return np.repeat(seconds, counts) + random.uniform(0, 1, jobs)
