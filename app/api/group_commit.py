"""Group commit: requests that come while a transaction is at work share the next one.

    add(a) -> [a]         at once: nobody waits for others to come
    add(b), add(c) ...    while that commits
           -> [b, c]      one transaction; then each is told what became of its own

One transaction at a time: the busier the process, the more share one. What is in line belongs to open requests, so
that a server which finishes those before it stops has finished the line.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from app.errors import Overloaded

RETRY_SECONDS = 1

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


class GroupCommit(Generic[ItemT, OutcomeT]):
    """Of one event loop. `commit`, called in a thread, makes one transaction of at most `most` items and says what
    became of each, in their order; an exception among the outcomes is that item's own, one that it raises everybody's.
    At most `room` items wait in line.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[ItemT]], Sequence[OutcomeT | Exception]],
        *,
        most: int,
        room: int,
    ) -> None:
        self._commit = commit
        self._most = most
        self._room = room
        self._line: deque[tuple[ItemT, asyncio.Future[OutcomeT]]] = deque()
        self._at_work: asyncio.Task[None] | None = None

    async def add(self, item: ItemT) -> OutcomeT:
        """Its outcome, once it is committed. Raises Overloaded when the line is full. Who is cancelled meanwhile
        doesn't learn the outcome; the item has one all the same.
        """
        if len(self._line) >= self._room:
            raise Overloaded(
                "More requests are coming than can be recorded. Try again in a moment.",
                retry_after=RETRY_SECONDS,
            )
        outcome: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()
        self._line.append((item, outcome))
        if self._at_work is None or self._at_work.done():
            # In a context of its own: it is no part of the request that happens to begin it.
            self._at_work = asyncio.create_task(self._work_off(), context=Context())
        return await outcome

    async def _work_off(self) -> None:
        while self._line:
            taken = [self._line.popleft() for _ in range(min(len(self._line), self._most))]
            outcomes: Sequence[OutcomeT | Exception]
            try:
                outcomes = await asyncio.to_thread(self._commit, [item for item, _ in taken])
            except Exception as error:  # noqa: BLE001 - each request handles it as its own
                outcomes = [error] * len(taken)
            for (_, waiting), outcome in zip(taken, outcomes, strict=True):
                _tell(waiting, outcome)


def _tell(waiting: "asyncio.Future[OutcomeT]", outcome: OutcomeT | Exception) -> None:
    if waiting.done():
        return  # its request was cut off
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
