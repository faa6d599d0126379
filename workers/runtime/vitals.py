"""What the worker's main process knows of itself, for who asks whether it is alive and ready."""

import threading
from typing import Any

from celery import bootsteps

from app.health import NO_ANSWER, NOT_YET, OK, Heartbeat

AWAY = "away"
STUCK_SECONDS = 12.0
"""The loop beats every five."""


class Vitals:
    """Of this process; there is one. `broker` is `ok`, or why not."""

    heartbeat = Heartbeat()
    broker: str = NOT_YET
    turn = threading.Lock()
    """Held by whoever of the main process has a connection to the database: one at a time is planned."""

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
