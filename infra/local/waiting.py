"""Waiting for a condition, with a deadline, and never for a length of time."""

import time
from collections.abc import Callable
from threading import Event

Seconds = float
INTERVAL: Seconds = 0.05


def until(
    condition: Callable[[], bool],
    *,
    seconds: Seconds,
    cancelled: Event | None = None,
    interval: Seconds = INTERVAL,
) -> bool:
    """True as soon as `condition()` holds, which is asked each `interval`; False after `seconds`, or once
    `cancelled` is set.
    """
    deadline = time.monotonic() + seconds
    pause = cancelled or Event()
    while not condition():
        if time.monotonic() > deadline or pause.wait(interval):
            return False
    return True
