"""The scaling policy: from what is seen of a queue to the number of replicas. Pure; the clock is an argument.

Whoever scales (an autoscaler of ours, KEDA's settings, a simulation) uses this and no other. Wanted is the
largest of four answers:

- backlog: a replica for every `messages_per_replica` waiting jobs, the rule that KEDA's scalers have;
- rate: enough for what arrives, at the target utilisation;
- drain: enough for what arrives, and to be rid of the backlog within `drain_seconds`, but no more than a worker for
  each job that waits;
- lag: where the oldest job waits longer than `max_lag_seconds`, more by that proportion, at most twice as
  many as now. It needs no figure of durations.

Up at once (or after `up_window_seconds`); down only to the largest number that was wanted in the last
`down_window_seconds`, so that a pool isn't taken down between two bursts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

SLACK = 1e-9
STEP = 2.0
"""By lag alone a pool at most doubles at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """Of one pool. `workers_per_replica` is a worker's concurrency."""

    min_replicas: int = 2
    max_replicas: int = 50
    messages_per_replica: int = 100
    workers_per_replica: int = 2
    target_utilisation: float = 0.7
    drain_seconds: float = 15.0
    max_lag_seconds: float = 30.0
    poll_seconds: float = 15.0
    up_window_seconds: float = 0.0
    down_window_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError("0 <= min_replicas <= max_replicas")
        if min(self.messages_per_replica, self.workers_per_replica) < 1:
            raise ValueError("messages and workers per replica are at least 1")
        if not 0 < self.target_utilisation <= 1:
            raise ValueError("the target utilisation is above 0 and at most 1")
        if min(self.drain_seconds, self.max_lag_seconds, self.poll_seconds) <= 0:
            raise ValueError("drain, lag and poll are above 0 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A queue at one moment. `backlog` is all that is due and not begun, in the outbox and in the broker.

    `oldest_seconds` is how long its oldest waits; `mean_seconds` 0 says that no duration is known yet.
    """

    backlog: int
    oldest_seconds: float = 0.0
    arrival_rate: float = 0.0
    mean_seconds: float = 0.0
    replicas: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many replicas were wanted at `at`, and because of what."""

    at: float
    replicas: int
    because: str


def wanted(seen: Seen, policy: ScalingPolicy, *, now: float) -> Wanted:
    """What the queue calls for, within the pool's bounds and before any window."""
    arriving = seen.arrival_rate * seen.mean_seconds / policy.workers_per_replica
    share = min(1.0, seen.mean_seconds / policy.drain_seconds)
    waiting = seen.backlog * share / policy.workers_per_replica
    answers = {
        "backlog": seen.backlog / policy.messages_per_replica,
        "rate": arriving / policy.target_utilisation,
        "drain": arriving + waiting,
        "lag": _by_lag(seen, policy),
    }
    because = max(answers, key=lambda name: answers[name])
    replicas = ceil(answers[because] - SLACK)
    if replicas < policy.min_replicas:
        return Wanted(now, policy.min_replicas, "minimum")
    if replicas > policy.max_replicas:
        return Wanted(now, policy.max_replicas, "maximum")
    return Wanted(now, replicas, because)


def _by_lag(seen: Seen, policy: ScalingPolicy) -> float:
    if seen.oldest_seconds <= policy.max_lag_seconds:
        return 0.0
    return max(seen.replicas, 1) * min(STEP, seen.oldest_seconds / policy.max_lag_seconds)


def decide(
    seen: Seen, history: Sequence[Wanted], policy: ScalingPolicy, *, now: float
) -> tuple[int, list[Wanted]]:
    """The replicas that the pool should have now, and the history to give the next time.

    Starts with an empty history: a scaler that was restarted then keeps what is there until it has watched
    for a whole window, unless more is wanted.
    """
    newest = wanted(seen, policy, now=now)
    longest = max(policy.up_window_seconds, policy.down_window_seconds)
    kept = [
        *(one for one in history if one.at > now - longest),
        newest,
    ]
    if not history:
        kept.insert(0, Wanted(now, _within(seen.replicas, policy), "restart"))
    least = min(_since(kept, now - policy.up_window_seconds), default=newest.replicas)
    most = max(_since(kept, now - policy.down_window_seconds), default=newest.replicas)
    current = _within(seen.replicas, policy)
    if least > current:
        return least, kept
    return min(most, current), kept


def _since(history: Sequence[Wanted], moment: float) -> list[int]:
    return [one.replicas for one in history if one.at > moment]


def _within(replicas: int, policy: ScalingPolicy) -> int:
    return min(max(replicas, policy.min_replicas), policy.max_replicas)
