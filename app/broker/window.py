"""How much of a queue's backlog is with the broker: as little as keeps its workers busy.

The broker's queues are first in, first out, so that whatever is in one delays all that comes after it. The
window is `seconds` of work by the rate at which messages were taken of late, and at least `least`. It doubles
when the queue was found empty although it had been filled, and shrinks slowly.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import sqrt

SOONEST_LOOK_SECONDS = 0.01
"""A look at a queue is a round trip to the broker."""
LATEST_LOOK_SECONDS = 0.05
SHRINK = 0.9
FAST = 500.0
"""Jobs a second at which the window is twice as long."""
SOONER = 0.67
"""Standard deviations: a quarter of what is distributed normally lies further below the mean."""
PART_OF_A_JOB = 0.4
"""A worker that waits for so long has lost little by what it does."""
MEMORY_SECONDS = 0.5
"""About as far back as the rate looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of every window: in jobs, and in seconds of work."""

    least: int
    most: int
    seconds: float

    def fitting(self, rate: float) -> float:
        """The window for so many jobs a second. Where they are jobs of a moment it is longer: a round of the
        dispatcher is to be worth its cost.
        """
        return rate * self.seconds * (1 + rate / FAST)


class Window:
    """Of one queue. `now` is in seconds, of a clock that only ever rises."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._size = float(bounds.least)
        self._rate = 0.0
        self._there = 0.0
        self._looked_at: float | None = None
        self._filled = False
        self._jobs_a_message = 1.0
        self._pause = SOONEST_LOOK_SECONDS
        self._look_at = 0.0

    @property
    def size(self) -> int:
        """In jobs: the nearest whole number. One too few is a worker that waits, where they are few."""
        return round(self._size)

    def room(self, depth: Callable[[], int], now: float) -> int:
        """How many jobs may be sent now. The queue's `depth`, in messages, is asked for only where what was
        sent since the last look leaves less than half of the window; small rests are left until then. A queue that was full is
        not looked at before its time: a job that is due in another waits for each look.
        """
        if now < self._look_at:
            return 0
        if self._looked_at is None or not self._worth_it():
            self._look(depth() * self._jobs_a_message, now)
        return self._room() if self._worth_it() else 0

    def seconds_to_room(self) -> float | None:
        """When to look whether there is some, by the rate of late; None where that says nothing. Jobs end by chance: it is when
        in one case of four half of the window is gone, and no sooner than a part of one job takes.
        """
        if not self._rate:
            return None
        awaited = max(0.0, self._there - self.size / 2)
        return max(PART_OF_A_JOB, awaited - SOONER * sqrt(awaited)) / self._rate

    def look_at(self, now: float) -> float:
        """When to look again, as it has all that it may hold. Where no rate says anything, it is longer each time, until
        something is sent.
        """
        if self._look_at <= now:
            seconds = self.seconds_to_room()
            if seconds is None:
                seconds, self._pause = self._pause, min(self._pause * 1.5, LATEST_LOOK_SECONDS)
            self._look_at = now + min(max(seconds, SOONEST_LOOK_SECONDS), LATEST_LOOK_SECONDS)
        return self._look_at

    def _room(self) -> int:
        return int(self.size - self._there)

    def _worth_it(self) -> bool:
        return self._room() * 2 >= self.size

    def sent(self, *, jobs: int, messages: int) -> None:
        """What the broker has taken."""
        self._pause = SOONEST_LOOK_SECONDS
        self._there += jobs
        self._filled = self._filled or self._there >= self.size
        if messages:
            self._jobs_a_message = jobs / messages

    def _look(self, there: float, now: float) -> None:
        bounds = self._bounds
        if self._looked_at is not None:
            past = max(now - self._looked_at, 1e-3)
            part = min(1.0, past / MEMORY_SECONDS)
            self._rate += part * (max(0.0, self._there - there) / past - self._rate)
            starved = self._filled and there == 0
            size = self._size * (2 if starved else SHRINK)
            size = max(size, bounds.fitting(self._rate))
            self._size = min(float(bounds.most), max(float(bounds.least), size))
        self._there, self._looked_at, self._filled = there, now, False


class Windows:
    """Of all queues."""

    def __init__(self, queues: list[str], bounds: Bounds) -> None:
        self._windows = {queue: Window(bounds) for queue in queues}

    def rooms(self, depth: Callable[[str], int], now: float) -> dict[str, int]:
        """How many jobs may be sent to each."""
        return {
            queue: window.room(partial(depth, queue), now)
            for queue, window in self._windows.items()
        }

    def seconds_to_look(self, full: Iterable[str], now: float) -> float:
        """When to look again at the first of these queues, which have all that they may hold."""
        return min(self._windows[queue].look_at(now) for queue in full) - now

    def sent(self, queue: str, *, jobs: int, messages: int) -> None:
        """What the broker has taken for a queue."""
        self._windows[queue].sent(jobs=jobs, messages=messages)
