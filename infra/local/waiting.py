"""Waiting for a condition, with a deadline, and never for a length of time."""

import time
from collections.abc import Callable
from threading import Event

Seconds = float
INTERVAL: Seconds = 0.05
FIRST: Seconds = 0.002


def until(
    condition: Callable[[], bool],
    *,
    seconds: Seconds,
    cancelled: Event | None = None,
    interval: Seconds = INTERVAL,
) -> bool:
    """True as soon as `condition()` holds, which is asked each `interval`, and at first, when most of what is
    waited for comes, more often; False after `seconds`, or once `cancelled` is set.
    """
    began = time.monotonic()
    pause = cancelled or Event()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds or pause.wait(min(interval, FIRST + waited / 2)):
            return False
    return True
