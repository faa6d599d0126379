"""Threads that do one chore each, again and again, until they are told to stop."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from app.logs import cause
from app.metrics import declared
from app.metrics.registry import counter, gauge

log = structlog.get_logger()

_SUCCESS = gauge(declared.CHORE_SUCCESS)
_FAILURES = counter(declared.CHORE_FAILURES)

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """`step` does a small batch and says whether more is waiting; then it is done again at once, and
    else after `every_seconds`. A step that fails is logged and tried again: no chore ends the process.
    """

    name: str
    every_seconds: float
    step: Callable[[], bool]
    close: Callable[[], None] = field(default=lambda: None)


class Chores:
    """One thread a chore. `successes` gets the time at which each last went well, in seconds since 1970."""

    def __init__(self, *chores: Chore, successes: dict[str, float] | None = None) -> None:
        self._successes = {} if successes is None else successes
        for chore in chores:
            _FAILURES.labels(chore.name)  # 0 from the start on: a rate sees the first one rise
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(chore,), name=chore.name, daemon=True)
            for chore in chores
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, seconds: float = 10.0) -> None:
        """Finish the steps in hand, within `seconds` in all."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, chore: Chore) -> None:
        while not self._stop.is_set():
            pause = chore.every_seconds
            try:
                if chore.step():
                    pause = 0.0
                self._successes[chore.name] = time.time()
                _SUCCESS.labels(chore.name).set(self._successes[chore.name])
            except Exception as error:  # noqa: BLE001 - a server is away, or a fault of ours: go on either way
                pause = max(pause, RETRY_SECONDS)
                _FAILURES.labels(chore.name).inc()
                log.warning("chore.failed", chore=chore.name, error=cause(error))
            self._stop.wait(pause)
        chore.close()
