"""What changes, told to whoever watches: one LISTEN connection per process, one read per change of a thing.

A NOTIFY names what has changed; it is read once, for all that watch it, and each of them takes the newest
state when it is ready for it. So a slow client costs what a fast one does, and nothing queues up. When the
connection is lost, everything that is watched is read again once it is back.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import psycopg
import structlog
from fastapi.responses import StreamingResponse

from app.db import listening
from app.logs import cause
from app.settings import Settings

log = structlog.get_logger()

SHORTEST_SECONDS = 0.2
"""Between two reads of one thing."""
POLL_SECONDS = 5.0
"""Without a NOTIFY: behind a pooler, say, there are none."""
RETRY_SECONDS = 1.0
DRAIN_TICK_SECONDS = 0.1
READERS = 2
"""Connections of the pool that all reading together may hold."""
CLOSE_SECONDS = 5.0
"""How long the end waits for a read that is under way; no thread can be stopped, and its server may be silent."""
RECONNECT_MILLISECONDS = 1000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A thing as it is; `ended` when it won't change any more."""

    text: str
    ended: bool


Read = Callable[[UUID], Snapshot | None]
"""The thing of this id; None when it is gone. Blocks; may raise whatever the database does."""


class Watched:
    """One thing that somebody watches."""

    def __init__(self) -> None:
        self.dirty = asyncio.Event()
        self.dirty.set()
        self.watchers = 0
        self._latest: Snapshot | None = None
        self._version = 0
        self._news = asyncio.Condition()
        self.closed = False

    async def publish(self, snapshot: Snapshot) -> None:
        """Show it to everyone who waits, if it is new."""
        if snapshot == self._latest:
            return
        self._latest = snapshot
        self._version += 1
        await self._wake()

    async def close(self) -> None:
        """What is published by now is all that there will be."""
        self.closed = True
        await self._wake()

    async def newer(self, seen: int) -> tuple[int, Snapshot | None]:
        """The state and its version as soon as that isn't `seen`; (seen, None) when there won't be one."""
        async with self._news:
            await self._news.wait_for(lambda: self.closed or self._version > seen)
        return (self._version, self._latest) if self._version > seen else (seen, None)

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()


class LiveFeed:
    """All that is watched in this process. Its tasks live as long as somebody watches.

    Belongs to one event loop. `draining` says that the process is about to stop: all watching ends then.
    Without a `channel` nobody tells, and what is watched is read every `poll_seconds`.
    """

    def __init__(
        self,
        settings: Settings,
        channel: str | None,
        read: Read,
        *,
        draining: Callable[[], bool],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._read = read
        self._draining = draining
        self._poll_seconds = poll_seconds
        self._watched: dict[UUID, Watched] = {}
        self._tasks: dict[UUID | str, asyncio.Task[None]] = {}
        self._limiter: anyio.CapacityLimiter | None = None
        # Whoever has left leaves these behind, for as long as they still take.
        self._under_way: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def watch(self, thing_id: UUID) -> AsyncIterator[Watched]:
        """The thing, followed until the block ends."""
        if not self._watched:
            self._limiter = anyio.CapacityLimiter(READERS)
            if self._channel is not None:
                self._start("listen", self._listen(self._channel))
            self._start("drain", self._notice_the_drain())
        watched = self._watched.get(thing_id)
        if watched is None:
            watched = self._watched[thing_id] = Watched()
            self._start(thing_id, self._follow(thing_id, watched))
        watched.watchers += 1
        try:
            yield watched
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                del self._watched[thing_id]
                self._tasks.pop(thing_id).cancel()
            if not self._watched:
                for task in self._tasks.values():
                    task.cancel()
                self._tasks.clear()

    @property
    def watchers(self) -> int:
        """How many there are now."""
        return sum(watched.watchers for watched in self._watched.values())

    async def close(self) -> None:
        """End all watching, and return when nothing reads any more, after CLOSE_SECONDS at most: what is read with may
        go then.
        """
        for watched in self._watched.values():
            await watched.close()
        for task in self._tasks.values():
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CLOSE_SECONDS)

    def _start(self, name: UUID | str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = self._kept(asyncio.create_task(work, name=f"live {name}"))

    def _kept(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._under_way.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # of a read that nobody waits for any more

    async def _follow(self, thing_id: UUID, watched: Watched) -> None:
        while not watched.closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(watched.dirty.wait(), self._poll_seconds)
            watched.dirty.clear()
            pause = SHORTEST_SECONDS
            try:
                await self._show(thing_id, watched)
            except Exception as error:  # noqa: BLE001 - the database is away: what is shown stays
                log.warning("live.read_failed", error=cause(error))
                watched.dirty.set()
                pause = RETRY_SECONDS
            if self._draining():
                await watched.close()
            await asyncio.sleep(pause)

    async def _show(self, thing_id: UUID, watched: Watched) -> None:
        read = anyio.to_thread.run_sync(
            self._read, thing_id, limiter=self._limiter, abandon_on_cancel=True
        )
        # Cancelled, this waits no longer; the thread reads on.
        snapshot = await asyncio.shield(self._kept(asyncio.ensure_future(read)))
        await (watched.close() if snapshot is None else watched.publish(snapshot))

    async def _listen(self, channel: str) -> None:
        while True:
            try:
                async with listening(
                    self._settings, channel, application_name="millrace-web-live"
                ) as connection:
                    self._read_all()  # what changed before isn't told
                    async for notification in connection.notifies():
                        self._read_one(notification.payload)
            except psycopg.Error as error:
                log.warning("live.listen_failed", error=cause(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _read_all(self) -> None:
        for watched in self._watched.values():
            watched.dirty.set()

    def _read_one(self, payload: str) -> None:
        with suppress(ValueError):
            watched = self._watched.get(UUID(payload))
            if watched is not None:
                watched.dirty.set()

    async def _notice_the_drain(self) -> None:
        while True:
            await asyncio.sleep(DRAIN_TICK_SECONDS)
            if self._draining():
                self._read_all()  # for the last time


def event_stream(
    feed: LiveFeed,
    thing_id: UUID,
    *,
    event: str,
    keep_alive_seconds: float,
    seconds: float = math.inf,
) -> StreamingResponse:
    """The thing as server-sent events: `event` with its text now and after each change, and `end` when it has
    ended. After `seconds` the stream breaks off, and the browser asks again.
    """
    return StreamingResponse(
        _events(feed, thing_id, event, keep_alive_seconds, seconds),
        media_type="text/event-stream",
        headers=_HEADERS,
    )


async def _events(
    feed: LiveFeed, thing_id: UUID, event: str, keep_alive_seconds: float, seconds: float
) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    until = time.monotonic() + seconds
    async with feed.watch(thing_id) as watched:
        seen = 0
        while time.monotonic() < until:
            try:
                seen, news = await asyncio.wait_for(watched.newer(seen), keep_alive_seconds)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if news is None:
                return
            yield f"event: {event}\ndata: {news.text}\n\n"
            if news.ended:
                yield "event: end\ndata: {}\n\n"
                return
