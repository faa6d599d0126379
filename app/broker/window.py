"""How much of a queue's backlog is with the broker: as little as keeps its workers busy.

The broker's queues are first in, first out, so that whatever is in one delays all that comes after it. The
window is `seconds` of work by the rate at which messages were taken of late, and at least `least`. It doubles
when the queue was found empty although it had been filled, and shrinks slowly.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

SHRINK = 0.9
FAST = 500.0
"""Jobs a second at which the window is twice as long."""
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

    @property
    def size(self) -> int:
        """In jobs."""
        return int(self._size)

    def room(self, depth: Callable[[], int], now: float) -> int:
        """How many jobs may be sent now. The queue's `depth`, in messages, is asked for only where what was
        sent since the last look leaves less than half of the window; small rests are left until then.
        """
        if self._looked_at is None or not self._worth_it():
            self._look(depth() * self._jobs_a_message, now)
        return self._room() if self._worth_it() else 0

    def seconds_to_room(self) -> float:
        """When there will be, by the rate of late; 0 where that says nothing."""
        return max(0.0, self._there - self._size / 2) / self._rate if self._rate else 0.0

    def _room(self) -> int:
        return int(self._size - self._there)

    def _worth_it(self) -> bool:
        return self._room() * 2 >= self.size

    def sent(self, *, jobs: int, messages: int) -> None:
        """What the broker has taken."""
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
            queue: window.room(lambda queue=queue: depth(queue), now)  # type: ignore[misc]
            for queue, window in self._windows.items()
        }

    def seconds_to_room(self, queues: Iterable[str]) -> float:
        """When the first of them will have room, by its rate of late; 0 where that says nothing."""
        return min((self._windows[queue].seconds_to_room() for queue in queues), default=0.0)

    def sent(self, queue: str, *, jobs: int, messages: int) -> None:
        """What the broker has taken for a queue."""
        self._windows[queue].sent(jobs=jobs, messages=messages)
