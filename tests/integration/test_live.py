"""Whoever watches a thing hears of its changes, by NOTIFY, through one connection, also after it broke."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from app.api import live
from app.api.live import LiveFeed, Snapshot, Watched
from app.main import create_app
from app.settings import Settings
from tests.support.servers import Servers

CHANNEL = "test_things"


class Things:
    """Numbers in a table, read by the feed; `reads` counts how often."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reads: dict[UUID, int] = {}
        with engine.begin() as tx:
            tx.execute(text("CREATE TABLE things (id uuid PRIMARY KEY, value int)"))

    def add(self, value: int = 0) -> UUID:
        thing_id = uuid4()
        with self.engine.begin() as tx:
            tx.execute(text("INSERT INTO things VALUES (:id, :v)"), {"id": thing_id, "v": value})
        return thing_id

    def set(self, thing_id: UUID, value: int, *, tell: bool = True) -> None:
        with self.engine.begin() as tx:
            values = {"id": thing_id, "v": value}
            tx.execute(text("UPDATE things SET value = :v WHERE id = :id"), values)
            if tell:
                tx.execute(text(f"SELECT pg_notify('{CHANNEL}', CAST(:id AS text))"), values)

    def remove(self, thing_id: UUID) -> None:
        with self.engine.begin() as tx:
            tx.execute(text("DELETE FROM things WHERE id = :id"), {"id": thing_id})
            tx.execute(text(f"SELECT pg_notify('{CHANNEL}', CAST(:id AS text))"), {"id": thing_id})

    def read(self, thing_id: UUID) -> Snapshot | None:
        self.reads[thing_id] = self.reads.get(thing_id, 0) + 1
        with self.engine.connect() as tx:
            query = text("SELECT value FROM things WHERE id = :id")
            value = tx.execute(query, {"id": thing_id}).scalar_one_or_none()
        return None if value is None else Snapshot(str(value), ended=value < 0)


class Viewer:
    """Sees one thing through the feed; `seen` are its states."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._version = 0
        self.seen: list[str] = []
        self.over = False

    async def look(self) -> None:
        while not self.over:
            self._version, news = await self._watched.newer(self._version)
            if news is None:
                self.over = True
            else:
                self.seen.append(news.text)

    async def until(self, value: int) -> None:
        await until(lambda: self.seen[-1:] == [str(value)], f"{value}, and not {self.seen}")


async def until(condition: Callable[[], bool], what: str = "it") -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        await asyncio.sleep(0.01)


@pytest.fixture
def things(engine: Engine) -> Things:
    return Things(engine)


@pytest.fixture(autouse=True)
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes, comes by NOTIFY or because the connection is new."""
    monkeypatch.setattr(live, "POLL_SECONDS", 3600.0)


def run(
    settings: Settings,
    things: Things,
    work: Callable[[LiveFeed], Awaitable[None]],
    *,
    draining: Callable[[], bool] = lambda: False,
) -> None:
    async def all_of_it() -> None:
        feed = LiveFeed(settings, CHANNEL, things.read, draining=draining)
        try:
            await asyncio.wait_for(work(feed), 60)
            assert feed.watchers == 0
        finally:
            await feed.close()  # what a read has out would come back to an engine that is gone

    asyncio.run(all_of_it())


def listeners(engine: Engine) -> int:
    with engine.connect() as tx:
        query = text("""
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'millrace-web-live'
        """)
        found: int = tx.execute(query).scalar_one()
    return found


def test_changes_come_by_notify_and_the_first_state_at_once(
    settings: Settings, things: Things
) -> None:
    async def work(feed: LiveFeed) -> None:
        thing = things.add(7)
        async with feed.watch(thing) as watched:
            viewer = Viewer(watched)
            looking = asyncio.create_task(viewer.look())
            await viewer.until(7)
            await until(lambda: listeners(things.engine) == 1)
            for value in (8, 9):
                things.set(thing, value)
                await viewer.until(value)
            looking.cancel()
        assert viewer.seen == ["7", "8", "9"]

    run(settings, things, work)


def test_all_share_one_connection_and_one_read_and_it_ends_with_the_last(
    settings: Settings, things: Things
) -> None:
    async def work(feed: LiveFeed) -> None:
        one, other = things.add(1), things.add(2)
        async with (
            feed.watch(one) as first,
            feed.watch(one) as second,
            feed.watch(other) as third,
        ):
            viewers = [Viewer(first), Viewer(second), Viewer(third)]
            tasks = [asyncio.create_task(viewer.look()) for viewer in viewers]
            for viewer, value in zip(viewers, (1, 1, 2), strict=True):
                await viewer.until(value)
            await until(lambda: listeners(things.engine) == 1)
            before = dict(things.reads)
            for value in (5, 6, 7):
                things.set(one, value)
                await viewers[0].until(value)
                await viewers[1].until(value)
            # One may be left over from when the connection was new.
            assert things.reads[one] - before[one] in {3, 4}
            assert things.reads[other] - before[other] in {0, 1}
            assert listeners(things.engine) == 1
            for task in tasks:
                task.cancel()
        await until(lambda: listeners(things.engine) == 0, "the end of the connection")

    run(settings, things, work)


def test_many_changes_are_few_reads_and_the_last_one_is_seen(
    settings: Settings, things: Things
) -> None:
    async def work(feed: LiveFeed) -> None:
        thing = things.add()
        async with feed.watch(thing) as watched:
            viewer = Viewer(watched)
            looking = asyncio.create_task(viewer.look())
            await viewer.until(0)
            await until(lambda: listeners(things.engine) == 1)
            began = time.monotonic()
            for value in range(1, 101):
                await asyncio.to_thread(things.set, thing, value)
            await viewer.until(100)
            allowed = (time.monotonic() - began) / live.SHORTEST_SECONDS + 3
            looking.cancel()
        assert len(viewer.seen) <= min(allowed, 90)

    run(settings, things, work)


def test_who_does_not_look_misses_the_states_between_and_holds_nobody_up(
    settings: Settings, things: Things
) -> None:
    async def work(feed: LiveFeed) -> None:
        thing = things.add(1)
        async with feed.watch(thing) as watched, feed.watch(thing) as same:
            slow, quick = Viewer(same), Viewer(watched)
            looking = [asyncio.create_task(quick.look())]
            await until(lambda: listeners(things.engine) == 1)
            for value in (2, 3, 4):
                things.set(thing, value)
                await quick.until(value)
            looking.append(asyncio.create_task(slow.look()))
            await slow.until(4)
            assert slow.seen == ["4"]
            for task in looking:
                task.cancel()

    run(settings, things, work)


def test_after_the_connection_broke_everything_is_read_again(
    settings: Settings,
    things: Things,
    servers: Servers,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.1)

    async def work(feed: LiveFeed) -> None:
        thing = things.add(1)
        async with feed.watch(thing) as watched:
            viewer = Viewer(watched)
            looking = asyncio.create_task(viewer.look())
            await viewer.until(1)
            await until(lambda: listeners(things.engine) == 1)
            with servers.no_new_connections(database):
                await asyncio.sleep(0.5)  # several tries come to nothing
            things.set(thing, 2, tell=False)  # as if it had been told while nobody listened
            await viewer.until(2)
            await until(lambda: listeners(things.engine) == 1)
            things.set(thing, 3)
            await viewer.until(3)
            looking.cancel()

    run(settings, things, work)


def test_what_is_gone_is_not_watched_any_longer(settings: Settings, things: Things) -> None:
    async def work(feed: LiveFeed) -> None:
        thing = things.add(1)
        async with feed.watch(thing) as watched:
            viewer = Viewer(watched)
            looking = asyncio.create_task(viewer.look())
            await until(lambda: listeners(things.engine) == 1)
            await viewer.until(1)
            things.remove(thing)
            await until(lambda: viewer.over)
            await looking

    run(settings, things, work)


def test_the_end_of_the_process_waits_for_what_still_reads(
    settings: Settings, engine: Engine
) -> None:
    """Or the thread gives its connection back to a pool that was disposed of, which nobody closes."""
    app = create_app(settings)
    feed: LiveFeed = app.state.import_feed

    def of_the_application(state: str = "%") -> int:
        with engine.connect() as tx:
            query = text("""
                SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'millrace-web' AND coalesce(wait_event_type, '') LIKE :state
            """)
            found: int = tx.execute(query, {"state": state}).scalar_one()
        return found

    async def work() -> None:
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
        with engine.connect() as blocker:
            blocker.execute(text("LOCK TABLE imports IN ACCESS EXCLUSIVE MODE"))
            async with feed.watch(uuid4()):
                await until(lambda: of_the_application("Lock") == 1, "a read that waits")
            ending = asyncio.ensure_future(lifespan.__aexit__(None, None, None))
            await asyncio.sleep(0.1)  # whoever disposed of the engine at once would be done
            assert not ending.done()
        await asyncio.wait_for(ending, 5)
        await until(lambda: of_the_application() == 0, "the end of its connections")

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_read_without_an_end_holds_the_process_for_a_moment_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CLOSE_SECONDS", 0.05)
    began, goes_on = threading.Event(), threading.Event()

    def read(_thing: UUID) -> Snapshot | None:
        began.set()
        goes_on.wait(20)
        return None

    async def work() -> None:
        feed = LiveFeed(settings, None, read, draining=lambda: False)
        async with feed.watch(uuid4()) as watched:
            await asyncio.to_thread(began.wait, 20)
            await asyncio.wait_for(feed.close(), 5)
            assert watched.closed
        goes_on.set()

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_drain_ends_all_watching_and_shows_newcomers_the_state(
    settings: Settings, things: Things
) -> None:
    draining: list[bool] = []

    async def work(feed: LiveFeed) -> None:
        thing, other = things.add(1), things.add(2)
        async with feed.watch(thing) as watched:
            viewer = Viewer(watched)
            looking = asyncio.create_task(viewer.look())
            await until(lambda: listeners(things.engine) == 1)
            things.set(thing, 3)
            await viewer.until(3)  # from here on nothing is left to read
            draining.append(True)
            began = time.monotonic()
            await asyncio.wait_for(looking, 5)
            assert time.monotonic() - began < 3
            async with feed.watch(other) as late:
                newcomer = Viewer(late)
                await asyncio.wait_for(newcomer.look(), 5)
            assert newcomer.seen == ["2"]

    run(settings, things, work, draining=lambda: bool(draining))
