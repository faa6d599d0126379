"""A chore is done again and again, whatever it meets, until it is told to stop."""

import threading
from collections.abc import Callable

import pytest

from app.housekeeping import chores as chores_module
from app.housekeeping.chores import Chore, Chores


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores_module, "RETRY_SECONDS", 0.01)


def times(number: int, done: threading.Event, *, act: Callable[[int], bool]) -> Callable[[], bool]:
    """A step that sets `done` once it has been made `number` times."""
    made: list[int] = []

    def step() -> bool:
        made.append(1)
        if len(made) == number:
            done.set()
        return act(len(made))

    return step


def fail(_: int) -> bool:
    raise RuntimeError("a server is away")


@pytest.mark.parametrize(
    ("act", "every"), [(lambda _: False, 0.01), (lambda _: True, 3600.0), (fail, 0.01)]
)
def test_it_goes_on_after_its_pause_at_once_when_there_is_more_and_after_a_failure(
    act: Callable[[int], bool], every: float
) -> None:
    done, closed = threading.Event(), threading.Event()
    chore = Chore(name="chore", every_seconds=every, step=times(5, done, act=act), close=closed.set)
    made = Chores(chore)
    made.start()
    assert done.wait(10)
    made.stop()
    assert closed.is_set()


def test_one_that_hangs_keeps_neither_the_others_nor_the_process() -> None:
    done, hanging = threading.Event(), threading.Event()
    stuck = Chore(name="stuck", every_seconds=0.01, step=lambda: hanging.wait(60))
    fine = Chore(name="fine", every_seconds=0.01, step=times(5, done, act=lambda _: False))
    made = Chores(stuck, fine)
    made.start()
    assert done.wait(10)
    made.stop(seconds=0.1)
    alive = {thread.name for thread in made._threads if thread.is_alive()}
    assert alive == {"stuck"}
    assert all(thread.daemon for thread in made._threads)
    hanging.set()
    made.stop()


def test_a_chore_that_waits_for_its_time_stops_at_once() -> None:
    done = threading.Event()
    chore = Chore(name="chore", every_seconds=3600, step=times(1, done, act=lambda _: False))
    made = Chores(chore)
    made.start()
    assert done.wait(10)
    made.stop(seconds=5)
    assert not any(thread.is_alive() for thread in made._threads)
