"""What happened while the campaign ran: who accepted what, and what each fault hit. Times are time.time()."""

import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from tests.chaos.orders import Order
from tests.chaos.timetable import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A request that was answered with 202: `id` is the job's, or the import's. `web` answered."""

    order: Order
    id: UUID
    web: str
    asked: float
    answered: float
    not_before: float | None = None
    """The time that it was ordered for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """A fault that struck: from `began` to `ended`. What it hit, as far as that is known at once: jobs by
    id (`jobs`), the node of a worker, the marks of planted messages.
    """

    fault: Fault
    began: float
    ended: float
    whole: bool = False
    """Whether it had the system to itself."""
    jobs: tuple[UUID, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(slots=True)
class Journal:
    """Shared by all threads of the driver."""

    accepted: list[Accepted] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    missed: list[tuple[Fault, str]] = field(default_factory=list)
    """Faults that could not strike, and why."""
    refused: list[str] = field(default_factory=list)
    """Answers that no client should get."""
    too_late: int = 0
    """Orders whose deadline had passed when a web process got to see them."""
    silent: list[str] = field(default_factory=list)
    """Workers that took no job for a long time while others did."""
    repeats: int = 0
    """Requests that had to be made again."""
    began: float = field(default_factory=time.time)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, accepted: Accepted) -> None:
        with self._lock:
            self.accepted.append(accepted)

    def strike(self, blow: Blow) -> None:
        with self._lock:
            self.blows.append(blow)

    def miss(self, fault: Fault, why: str) -> None:
        with self._lock:
            self.missed.append((fault, why))

    def refuse(self, what: str) -> None:
        with self._lock:
            self.refused.append(what)

    def come_too_late(self) -> None:
        with self._lock:
            self.too_late += 1

    def fall_silent(self, worker: str) -> None:
        with self._lock:
            self.silent.append(worker)

    def repeat(self) -> None:
        with self._lock:
            self.repeats += 1

    @property
    def struck(self) -> int:
        """Faults that are over, missed ones included."""
        return len(self.blows) + len(self.missed)
