"""The window follows its queue's workers: small where they are slow, large where they are fast."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.broker.window import Bounds, Window

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
    assert window.seconds_to_room() == 0
    window.room(lambda: 0, 0)
    window.sent(jobs=100, messages=100)
    assert window.seconds_to_room() == 0, "nobody knows"
    window.room(lambda: 90, 1)  # ten a second
    assert window.seconds_to_room() == pytest.approx(4)


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
