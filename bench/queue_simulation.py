"""A queue with several servers, job by job: what the formulas are checked against.

`waits` is a few lines that go through a million jobs in a second or two; `waits_by_simpy` says the same with
SimPy's processes and resources, a hundred times slower, and a test holds the two equal.
"""

from heapq import heapreplace

import numpy as np
import simpy
from numpy.random import Generator
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


def waits(arrivals: Seconds, durations: Seconds, servers: int) -> Seconds:
    """How long each job waits; first come, first served. `arrivals` are sorted."""
    free = [0.0] * servers
    waited: list[float] = []
    for arrival, duration in zip(arrivals.tolist(), durations.tolist(), strict=True):
        start = max(arrival, free[0])
        heapreplace(free, start + duration)
        waited.append(start - arrival)
    return np.array(waited)


def waits_by_simpy(arrivals: Seconds, durations: Seconds, servers: int) -> Seconds:
    """The same."""
    world = simpy.Environment()
    pool = simpy.Resource(world, capacity=servers)
    waited = np.zeros(len(arrivals))

    def job(number: int) -> simpy.events.ProcessGenerator:
        yield world.timeout(float(arrivals[number]))
        with pool.request() as turn:
            yield turn
            waited[number] = world.now - arrivals[number]
            yield world.timeout(float(durations[number]))

    for number in range(len(arrivals)):
        world.process(job(number))
    world.run()
    return waited


def poisson(random: Generator, rate: float, jobs: int) -> Seconds:
    """The moments of a Poisson process."""
    return np.cumsum(random.exponential(1 / rate, jobs))


def lognormal(random: Generator, mean: float, scv: float, jobs: int) -> Seconds:
    """Durations of that mean and squared coefficient of variation."""
    variance = np.log1p(scv)
    return random.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), jobs)


def in_bursts(random: Generator, rate: float, burst: int, jobs: int) -> Seconds:
    """As many jobs as `rate` says, `burst` of them at the same moment, the moments a Poisson process."""
    moments = poisson(random, rate / burst, jobs // burst)
    return np.repeat(moments, burst)
