"""When to try again. Pure: the dice are an argument, and a delay needs no clock."""

from dataclasses import dataclass
from random import Random
from uuid import UUID

MAX_PAUSE_SECONDS = 1e9
"""Some thirty years; the other side may ask for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`attempts` tries in all; after try n a pause of `base_seconds * 2**(n-1)`, at most `cap_seconds`.

    With `jitter` the pause is drawn evenly from nothing to that figure ("full jitter"), so that jobs
    that failed together don't come back together.
    """

    attempts: int = 6
    base_seconds: float = 2.0
    cap_seconds: float = 3600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_seconds <= 0 or self.cap_seconds < self.base_seconds:
            raise ValueError(f"a retry policy needs attempts >= 1 and 0 < base <= cap: {self}")


def backoff_seconds(policy: RetryPolicy, *, attempt: int, rng: Random) -> float:
    """The pause after try `attempt` (from 1)."""
    ceiling = min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(attempt - 1, 60))
    return rng.uniform(0, ceiling) if policy.jitter else ceiling


def tries_made(policy: RetryPolicy, *, attempt: int, max_attempts: int) -> int:
    """How many tries that is, from 1. A snooze costs none, but raises the attempt's number and the last one's;
    after a replay they are counted anew.
    """
    return max(1, policy.attempts - (max_attempts - attempt))


def retry_delay_seconds(
    policy: RetryPolicy, *, attempt: int, rng: Random, retry_after_seconds: float = 0.0
) -> float | None:
    """The pause before try `attempt + 1`, or None when the attempts are used up.

    `retry_after_seconds` is the other side's Retry-After: the pause is never shorter, but for what no
    calendar holds.
    """
    if attempt >= policy.attempts:
        return None
    pause = max(backoff_seconds(policy, attempt=attempt, rng=rng), retry_after_seconds)
    return min(pause, MAX_PAUSE_SECONDS)


def dice(job_id: UUID, attempt: int) -> Random:
    """Dice that fall the same way for the same job and attempt, so that a pause can be explained."""
    return Random(f"{job_id}/{attempt}")  # noqa: S311 - jitter, not a secret
