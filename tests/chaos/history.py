"""The ledger's history, read once when all is over. Times are seconds since 1970, by the database's clock."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

import psycopg

_EVENTS = """
    SELECT job_id, extract(epoch FROM at)::float, event, attempt, worker, detail ->> 'code'
    FROM job_history ORDER BY id
"""
_COLLECTED = """
    SELECT substring(body FROM 'rubbish-[0-9a-f]{32}'), extract(epoch FROM created_at)::float
    FROM dead_letters WHERE body LIKE '%rubbish-%'
"""
_ON_ITS_WAY_SECONDS = 0.1
BEGINNINGS = frozenset({"claim", "take_over"})


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a job, as the history has it; `code` says why, where it says."""

    job_id: UUID
    at: float
    event: str
    attempt: int
    worker: str | None
    code: str | None

    def __str__(self) -> str:
        words = [f"{self.at:.3f}", self.event, f"#{self.attempt}", self.worker, self.code]
        return " ".join(word for word in words if word)


@dataclass(frozen=True)
class History:
    """Events in the order in which they happened, and when each planted message was collected."""

    events: list[Event]
    collected: list[tuple[str, float]] = field(default_factory=list)

    @classmethod
    def read(cls, tx: psycopg.Connection) -> "History":
        events = [Event(*row) for row in tx.execute(_EVENTS)]
        return cls(events, [(str(mark), float(at)) for mark, at in tx.execute(_COLLECTED)])

    @cached_property
    def by_job(self) -> dict[UUID, list[Event]]:
        made: dict[UUID, list[Event]] = {}
        for event in self.events:
            made.setdefault(event.job_id, []).append(event)
        return made

    def of(self, job_id: UUID) -> list[Event]:
        return self.by_job.get(job_id, [])

    def first(
        self, kinds: Iterable[str], *, after: float, worker: str | None = None
    ) -> float | None:
        """When the first such event after that time was."""
        wanted = frozenset(kinds)
        times = (
            event.at
            for event in self.events
            if event.at > after
            and event.event in wanted
            and (worker is None or event.worker == worker)
        )
        return min(times, default=None)

    def first_settled(self, *, begun_after: float) -> float | None:
        """When the first attempt that began after that time was settled as a success."""
        begins, ends = self._attempts
        index = bisect_left(begins, begun_after)
        return ends[index] if index < len(ends) else None

    def again(self, job_id: UUID, at: float) -> float | None:
        """When the job ran again that a worker had in hand at that time; None when it ended all the same.

        A claim that was on its way at that time is not the next attempt, but the one that was struck.
        """
        before = [event.event for event in self.of(job_id) if event.at <= at]
        after = [event for event in self.of(job_id) if event.at > at]
        if not before or before[-1] not in {"dispatch", *BEGINNINGS}:
            return None
        if len(after) > 1 and after[0].at < at + _ON_ITS_WAY_SECONDS:
            after = after[after[1].event in {"take_over", "rescue"} :]
        if not after or after[0].event not in {"rescue", *BEGINNINGS}:
            return None
        return next((event.at for event in after if event.event in BEGINNINGS), None)

    def running_at(self, at: float, worker: str) -> list[UUID]:
        """The jobs that a worker had at that time."""
        last: dict[UUID, Event] = {}
        for event in self.events:
            if event.at <= at:
                last[event.job_id] = event
        return [
            job_id
            for job_id, event in last.items()
            if event.event in BEGINNINGS and event.worker == worker
        ]

    def begun(self, job_id: UUID, *, after: float) -> float | None:
        """When the first attempt of the job after that time began."""
        times = (
            event.at for event in self.of(job_id) if event.at > after and event.event in BEGINNINGS
        )
        return min(times, default=None)

    @cached_property
    def rescues(self) -> Counter[str]:
        """How many jobs were put back, by the reason."""
        return Counter(event.code or "" for event in self.events if event.event == "rescue")

    @cached_property
    def _attempts(self) -> tuple[list[float], list[float]]:
        """Beginnings of successful attempts in order, and for each the first end of it and of all later."""
        begun = {(e.job_id, e.attempt): e.at for e in self.events if e.event in BEGINNINGS}
        pairs = sorted(
            (begun[e.job_id, e.attempt], e.at)
            for e in self.events
            if e.event == "succeed" and (e.job_id, e.attempt) in begun
        )
        ends: list[float] = []
        for _, end in reversed(pairs):
            ends.append(min(end, ends[-1]) if ends else end)
        return [begin for begin, _ in pairs], ends[::-1]
