"""Plain Celery tasks, sent by name from processes that know neither Celery nor the workers' code.

There is no outbox here: what is sent is out at once, whether or not the caller's transaction commits. Whoever
needs one commit for both enqueues a job.
"""

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from amqp.basic_message import Message

from app.broker.publisher import Publisher
from app.broker.topology import EXCHANGE, Queue
from app.errors import BrokerAway
from app.ids import new_id
from app.settings import Settings

PREFIX = "tasks."
"""Every plain task's name begins with it, so that none is ever taken for a kind of job."""
_ORIGIN = f"millrace@{socket.gethostname()}"
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMessage:
    """A call of the task `name`: message protocol 2, as Celery's own `delay` sends it."""

    name: str
    queue: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    message_id: UUID = field(default_factory=new_id)

    @property
    def route(self) -> tuple[str, str]:
        """To its queue."""
        return EXCHANGE, self.queue

    def encode(self) -> Message:
        """The AMQP message, persistent. Raises TypeError for what JSON can't hold."""
        task_id = str(self.message_id)
        headers = {
            "lang": "py",
            "task": self.name,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": _ORIGIN,
            "ignore_result": True,
        }
        return _message(json.dumps([[], dict(self.kwargs), _EMBED]), headers, task_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAgain:
    """A message that the broker gave up, to be sent once more as it was."""

    body: str
    headers: Mapping[str, Any]
    queue: str
    message_id: UUID

    @property
    def route(self) -> tuple[str, str]:
        """To its queue."""
        return EXCHANGE, self.queue

    def encode(self) -> Message:
        """As TaskMessage's; it keeps its task id."""
        headers = {name: value for name, value in self.headers.items() if name[:2] != "x-"}
        return _message(self.body, headers, str(self.message_id))


class TaskSender:
    """One connection, made on first use and again after it broke. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None

    def send(self, name: str, *, queue: Queue = Queue.DEFAULT, **kwargs: Any) -> UUID:
        """`send_by_name` for arguments that are known as the code is written."""
        return self.send_by_name(name, queue=queue, kwargs=kwargs)

    def send_by_name(self, name: str, *, queue: Queue, kwargs: Mapping[str, Any]) -> UUID:
        """Send a call of the task; returns its id once the broker has it for good.

        Raises ValueError for a name that is no plain task's, TypeError for what JSON can't hold, and
        BrokerAway when nobody confirmed in time: then it may have been sent nonetheless.
        """
        if not name.startswith(PREFIX):
            raise ValueError(f"{name!r} is no plain task: their names begin with {PREFIX!r}.")
        message = TaskMessage(name=name, queue=queue.value, kwargs=kwargs)
        (taken,) = self.send_all([message])
        if not taken:
            raise BrokerAway(f"The queue {queue.value!r} takes no more messages now.")
        return message.message_id

    def send_all(self, messages: Sequence[TaskMessage | TaskAgain]) -> list[bool]:
        """Whether the broker took each. A connection that broke while nobody used it is made anew, once."""
        for message in messages:
            message.encode()  # what can't be written costs no connection
        with self._lock:
            idle = self._publisher
            if idle is not None:
                try:
                    idle.keep_alive()
                except BrokerAway:
                    self._close()
            self._publisher = self._publisher or Publisher(self._settings, heartbeat=0)
            try:
                return self._publisher.publish(messages)
            except BaseException:
                self._close()
                raise

    def close(self) -> None:
        """Close politely; the next `send` connects again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


def _message(body: str, headers: dict[str, Any], task_id: str) -> Message:
    return Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        correlation_id=task_id,
        message_id=task_id,
        application_headers=headers,
    )
