"""What the worker's main process knows of itself, for who asks whether it is alive and ready."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from celery import bootsteps
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.db import make_engine
from app.errors import ReadOnly
from app.health import NO_ANSWER, NOT_YET, OK, Heartbeat
from app.settings import get_settings

AWAY = "away"
STUCK_SECONDS = 12.0
"""The loop beats every five."""
AGAIN_SECONDS = 0.5
"""Between two attempts to reach the database."""

Answer = TypeVar("Answer")

_TURN = threading.Lock()
_OVER = threading.Event()
_LAST_TURN_SECONDS = 2.0


@lru_cache(maxsize=1)
def _database() -> Engine:
    return make_engine(get_settings(), pool_size=1, application_name="millrace-worker-main")


@contextmanager
def turn_at_the_database() -> Iterator[Engine]:
    """One at a time, of the main process's threads, has the database: one connection is planned for it. It is closed
    again at the end.
    """
    with _TURN:
        engine = _database()
        try:
            yield engine
        finally:
            engine.dispose()


def ask_until_answered(
    ask: Callable[[Engine], Answer], unanswered: Callable[[Exception], object]
) -> Answer:
    """A turn at the database, and another each AGAIN_SECONDS while it is away; `unanswered` hears of each in vain."""
    while True:
        try:
            with turn_at_the_database() as engine:
                return ask(engine)
        except (SQLAlchemyError, ReadOnly) as error:
            unanswered(error)
        time.sleep(AGAIN_SECONDS)


def last_turn(**_: Any) -> None:
    """The process is about to end: no thread is to be in the middle of something then."""
    if not _OVER.is_set():
        _OVER.set()
        _TURN.acquire(timeout=_LAST_TURN_SECONDS)


class Vitals:
    """Of this process; there is one. `broker` is `ok`, or why not."""

    heartbeat = Heartbeat()
    broker: str = NOT_YET

    @classmethod
    def of_broker(cls) -> str:
        """As the loop has it, which may itself be waiting for a broker that says nothing."""
        return cls.broker if cls.heartbeat.age() < STUCK_SECONDS else NO_ANSWER


class Connected(bootsteps.StartStopStep):
    """Added to the consumer: begins with each new connection, and ends with its loss."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, _consumer: Any) -> None:
        """The broker answers."""
        Vitals.broker = OK

    def stop(self, _consumer: Any) -> None:
        """It did."""
        Vitals.broker = AWAY
