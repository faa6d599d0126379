"""What a queue with several servers does, by formula.

M/M/c exactly (Erlang C); anything else by the approximation of Allen and Cunneen, which scales the wait of
M/M/c with the mean of the two squared coefficients of variation, of the gaps between arrivals and of the
durations. With many servers and little load that alone is half too high for durations that vary much; we
correct for it through M/D/c, by the formula of Cosmetatos and Kimura's interpolation. It knows nothing of
arrivals that come in bursts longer than a service: see docs/capacity.md. Times are seconds, rates are per
second.
"""

from dataclasses import dataclass
from math import exp, inf, log, sqrt

BURSTY = 4.0
"""Arrivals with a squared coefficient of variation beyond this: the model doesn't hold."""

MOST_GAMMA = 0.24
"""Where there is little load the correction is out of its depth, and kept to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a pool is asked to do. `scv` is variance over the squared mean; 1 is Poisson's and exponential."""

    rate: float
    mean: float
    scv_arrivals: float = 1.0
    scv_durations: float = 1.0

    def __post_init__(self) -> None:
        if self.rate < 0 or self.mean <= 0 or self.scv_arrivals < 0 or self.scv_durations < 0:
            raise ValueError(f"rates and variations are >= 0, the mean duration is > 0: {self}")

    @property
    def offered(self) -> float:
        """The work that arrives, in servers that it keeps busy (erlangs)."""
        return self.rate * self.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """How long jobs wait for a server, in the long run.

    Where the load is 1 or more there is no long run (`stable` is False): the queue grows by `growth` jobs a
    second, and every wait is infinite.
    """

    servers: int
    utilisation: float
    delayed: float
    mean_wait: float
    growth: float
    holds: bool

    @property
    def stable(self) -> bool:
        """Whether the queue is emptied again and again."""
        return self.utilisation < 1

    def wait(self, percentile: float) -> float:
        """Of the waits of all jobs; those that are delayed wait exponentially long."""
        if not 0 < percentile < 1:
            raise ValueError(f"a percentile is between 0 and 1: {percentile}")
        if not self.stable:
            return inf
        if self.delayed <= 1 - percentile or self.mean_wait == 0:
            return 0.0
        return self.mean_wait / self.delayed * log(self.delayed / (1 - percentile))

    def later_than(self, seconds: float) -> float:
        """The share of jobs that wait longer than that."""
        if not self.stable:
            return 1.0
        if self.mean_wait == 0:
            return 0.0
        return self.delayed * exp(-seconds * self.delayed / self.mean_wait)


def erlang_c(servers: int, offered: float) -> float:
    """The share of jobs that have to wait, in M/M/c. 1 where the load is 1 or more."""
    if servers < 1:
        raise ValueError("a queue needs a server")
    if offered >= servers:
        return 1.0
    blocked = 1.0  # Erlang B, by its recursion: factorials would overflow
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    utilisation = offered / servers
    return blocked / (1 - utilisation * (1 - blocked))


def queueing(load: Load, servers: int) -> Queueing:
    """What `load` does to a pool of `servers`, one job at a time each, first come, first served."""
    delayed = erlang_c(servers, load.offered)
    return Queueing(
        servers=servers,
        utilisation=load.offered / servers,
        delayed=delayed,
        mean_wait=_mean_wait(load, servers, delayed),
        growth=max(0.0, load.rate - servers / load.mean),
        holds=load.scv_arrivals <= BURSTY,
    )


def _mean_wait(load: Load, servers: int, delayed: float) -> float:
    spare = servers - load.offered
    if spare <= 0:
        return inf
    exponential = delayed * load.mean / spare
    variation = (load.scv_arrivals + load.scv_durations) / 2
    return (
        variation * exponential * _many_servers(load.offered / servers, servers, load.scv_durations)
    )


def _many_servers(utilisation: float, servers: int, scv: float) -> float:
    """What several servers make of durations that vary more, or less, than exponential ones; 1 for one."""
    if utilisation == 0:
        return 1.0
    root = sqrt(4 + 5 * servers) - 2
    gamma = (1 - utilisation) * (servers - 1) * root / (16 * servers * utilisation)
    constant = (1 + min(MOST_GAMMA, gamma)) / 2  # the wait of M/D/c in that of M/M/c
    return 2 / (2 * scv + (1 - scv) / constant)


def drain_seconds(load: Load, servers: int, backlog: int) -> float:
    """How long `backlog` jobs take to be gone while more arrive; infinite where they never are."""
    if backlog <= 0:
        return 0.0
    spare = servers - load.offered
    return backlog * load.mean / spare if spare > 0 else inf


def servers_for_wait(load: Load, seconds: float, *, percentile: float = 0.95) -> int:
    """The fewest servers with which so many of the jobs wait at most `seconds`."""
    servers = int(load.offered) + 1
    while queueing(load, servers).wait(percentile) > seconds:
        servers += 1
    return servers
