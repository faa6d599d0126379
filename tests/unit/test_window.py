"""The window follows its queue's workers: small where they are slow, large where they are fast."""

from collections import deque

import numpy as np
import pytest
import simpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.broker.window import Bounds, Window, Windows
from bench.queue_simulation import Seconds, poisson, waits

BOUNDS = Bounds(least=1, most=1000, seconds=0.05)


def simulate(jobs_per_second: float, *, seconds: float, pause: float = 0.01) -> tuple[Window, int]:
    """A queue with an endless backlog behind it; the window and how many jobs were taken in that time."""
    window, there, taken, owed = Window(BOUNDS), 0, 0, 0.0
    for step in range(int(seconds / pause)):
        owed = owed + jobs_per_second * pause if there else 0.0
        gone = min(there, int(owed))
        there, owed, taken = there - gone, owed - gone, taken + gone
        room = window.room(lambda there=there: there, step * pause)  # type: ignore[misc]
        there += room
        if room:
            window.sent(jobs=room, messages=room)
        assert there <= BOUNDS.most
    return window, taken


def test_slow_workers_have_next_to_nothing_before_them() -> None:
    window, taken = simulate(20, seconds=5)
    assert window.size <= 3
    assert taken >= 0.9 * 20 * 5


def test_fast_workers_are_kept_busy() -> None:
    window, taken = simulate(2000, seconds=5)
    assert 200 <= window.size <= 1000
    assert taken >= 0.9 * 2000 * 5


def test_without_workers_the_window_is_filled_once() -> None:
    window, taken = simulate(0, seconds=5)
    assert (window.size, taken) == (1, 0)


def test_the_queue_is_not_asked_while_there_is_room_for_sure() -> None:
    window = Window(Bounds(least=100, most=100, seconds=1))
    asked = 0

    def depth() -> int:
        nonlocal asked
        asked += 1
        return 0

    for step in range(50):
        assert window.room(depth, step * 1.0)
        window.sent(jobs=1, messages=1)
    assert asked == 1


def test_when_there_will_be_room_is_known_from_the_rate() -> None:
    window = Window(Bounds(least=100, most=100, seconds=1))
    window.room(lambda: 0, 0)
    window.sent(jobs=100, messages=100)
    assert window.seconds_to_room() is None, "nobody knows"
    window.room(lambda: 90, 1)  # ten a second
    assert window.seconds_to_room() == pytest.approx(4, rel=0.11), "or sooner, by chance"


def test_looks_are_rarer_where_nothing_moves_and_frequent_where_it_does() -> None:
    windows = Windows(["busy", "dead"], BOUNDS)
    moment = 0.0

    def fill() -> None:
        for queue, room in windows.rooms(lambda queue: int(queue == "dead"), moment).items():
            if room:
                windows.sent(queue, jobs=room, messages=room)

    def pauses(*queues: str) -> list[float]:
        nonlocal moment
        made = []
        for _ in range(10):
            made.append(round(windows.seconds_to_look(queues, moment), 6))
            moment += made[-1]
        return made

    fill()
    unknown = pauses("busy", "dead")
    assert unknown == sorted(unknown)
    assert (unknown[0], unknown[-1]) == (0.01, 0.05)
    for _ in range(50):
        moment += 0.03
        fill()
    assert windows.seconds_to_look(["busy", "dead"], moment) < 0.02
    moment += 1
    assert pauses("dead")[-1] == 0.05


def test_a_queue_that_is_full_is_left_alone_until_its_time() -> None:
    """Others' jobs come in meanwhile, and would wait for each look."""
    windows, asked = Windows(["urgent", "full"], BOUNDS), list[str]()

    def depth(queue: str) -> int:
        asked.append(queue)
        return int(queue == "full")

    windows.rooms(depth, 0.0)
    pause = windows.seconds_to_look(["full"], 0.0)
    asked.clear()
    for step in range(10):
        rooms = windows.rooms(depth, pause * step / 10)
        assert rooms["urgent"] > rooms["full"] == 0
        windows.sent("urgent", jobs=1, messages=1)
    assert set(asked) == {"urgent"}
    assert windows.seconds_to_look(["full"], pause / 2) == pytest.approx(pause / 2)
    windows.rooms(depth, pause)
    assert "full" in asked


class Pool:
    """Two workers behind a dispatcher whose look takes 1 ms and whose round takes 4; `waited` is from post to start."""

    def __init__(self, arrivals: Seconds, durations: Seconds) -> None:
        self._arrivals, self._durations = arrivals, durations
        self._world = simpy.Environment()
        self._outbox, self._broker = deque[int](), simpy.Store(self._world)
        self.waited = np.zeros(len(arrivals))

    def run(self) -> None:
        for process in (self._post, self._dispatch, self._work, self._work):
            self._world.process(process())
        self._world.run(until=float(self._arrivals[-1]) + 10)

    def _post(self) -> simpy.events.ProcessGenerator:
        for job, moment in enumerate(self._arrivals):
            yield self._world.timeout(float(moment) - self._world.now)
            self._outbox.append(job)

    def _work(self) -> simpy.events.ProcessGenerator:
        while True:
            job = yield self._broker.get()
            self.waited[job] = self._world.now - self._arrivals[job]
            yield self._world.timeout(float(self._durations[job]))

    def _dispatch(self) -> simpy.events.ProcessGenerator:
        windows = Windows(["queue"], BOUNDS)
        while True:
            yield self._world.timeout(0.001)
            room = windows.rooms(lambda _: len(self._broker.items), self._world.now)["queue"]
            batch = [self._outbox.popleft() for _ in range(min(room, len(self._outbox)))]
            if batch:
                yield self._world.timeout(0.004)
                yield self._world.all_of([self._broker.put(job) for job in batch])
                windows.sent("queue", jobs=len(batch), messages=len(batch))
            elif not room:
                yield self._world.timeout(windows.seconds_to_look(["queue"], self._world.now))


def test_short_jobs_hardly_wait_longer_than_if_the_broker_had_all_of_them() -> None:
    """Jobs of 0.05 s and two workers, 82 % busy."""
    random, jobs = np.random.default_rng(3), 20_000
    arrivals, durations = poisson(random, 31, jobs), random.exponential(0.05, jobs) + 0.003
    pool = Pool(arrivals, durations)
    pool.run()
    assert pool.waited.mean() <= 1.12 * (waits(arrivals, durations, 2).mean() + 0.006)


def test_jobs_that_travel_together_count_one_by_one() -> None:
    window = Window(Bounds(least=100, most=100, seconds=1))
    assert window.room(lambda: 0, 0) == 100
    window.sent(jobs=96, messages=6)
    assert window.room(lambda: 6, 1) == 0
    assert window.room(lambda: 3, 2) == 52


@settings(max_examples=300, deadline=None)
@given(
    least=st.integers(1, 9),
    rounds=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 4), st.floats(0.001, 2)), max_size=30
    ),
)
@example(least=3, rounds=[(2, 0, 1.0), (2, 1, 1.0)])
def test_an_empty_queue_has_room_whatever_went_before(
    least: int,
    rounds: list[tuple[int, int, float]],
) -> None:
    """A window that is neither asked about nor filled again would stand still for ever."""
    window, now = Window(Bounds(least=least, most=1000, seconds=0.05)), 0.0
    for together, left, pause in rounds:
        now += pause
        room = window.room(lambda left=left: left, now)  # type: ignore[misc]
        if room:
            window.sent(jobs=room, messages=-(-room // together))
    assert window.room(lambda: 0, now + 1) > 0
