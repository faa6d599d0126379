"""The soft time limit reaches the handler, and nothing but the handler.

The pool's own signal handler raises wherever the child happens to be: between a commit and its answer, with
the lease keeper's lock in hand, half way through writing a result to the main process. Ours raises while a
handler runs, once, and ignores the signal anywhere else: what is left then takes a moment, or is ended by
the hard limit.
"""

import signal
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class _SoftLimit:
    def __init__(self) -> None:
        self.armed = False
        self.error: type[Exception] = TimeoutError

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise self.error


_limit = _SoftLimit()


def install(error: type[Exception]) -> None:
    """Take the signal over from the pool, which sets its own handler after everything else at a child's
    start: call this before each job, in the main thread. `error` is what a handler gets to see.
    """
    _limit.error = error
    _limit.armed = False
    signal.signal(signal.SIGUSR1, _limit.on_signal)


def interruptible(handler: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """`handler`, in which the soft limit may raise, at any point."""

    @wraps(handler)
    def run(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        _limit.armed = True
        try:
            return handler(*arguments, **named)
        finally:
            _limit.armed = False

    return run
