"""RabbitMQ as the tests see it: what is in which queue."""

import json
from typing import Any, Self

import amqp

from app.broker.publisher import connect
from app.broker.topology import DEAD_LETTER_QUEUE, QUEUES, Queue, declare
from app.settings import Settings

WORK_QUEUES = tuple(queue.value for queue in Queue)


class Queues:
    """A connection and a channel of the test's own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connect()

    def _connect(self) -> None:
        self.connection = connect(self._settings, heartbeat=0)
        self.channel = self.connection.channel()
        declare(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self.connection.close()
        except (amqp.AMQPError, OSError):
            self.connection.collect()

    def reopen(self) -> None:
        """After the broker was away. Raises app.errors.BrokerAway."""
        self.close()
        self._connect()

    def purge(self) -> None:
        for queue in QUEUES:
            self.channel.queue_purge(queue.name)

    def depth(self, queue: str) -> int:
        """Messages that are ready."""
        answer = self.channel.queue_declare(queue, passive=True)
        assert answer is not None
        return int(answer[1])

    def consumers(self, queue: str) -> int:
        """How many take from it; 0 where it isn't there. (`rabbitmqctl` takes a second of CPU to say so.)"""
        channel = self.connection.channel()
        try:
            answer = channel.queue_declare(queue, passive=True)
        except amqp.NotFound:
            return 0
        channel.close()
        assert answer is not None
        return int(answer[2])

    def take(self, queue: str) -> amqp.Message | None:
        """One message off the queue, or None."""
        message: amqp.Message | None = self.channel.basic_get(queue, no_ack=True)
        return message

    def take_all(self, *names: str) -> list[amqp.Message]:
        """Every message off these queues (by default, off the work queues)."""
        taken = []
        for name in names or WORK_QUEUES:
            while (message := self.take(name)) is not None:
                taken.append(message)
        return taken

    def job_ids(self, *names: str) -> list[str]:
        """The job ids of all messages, taken off."""
        return [arguments_of(message)["job_id"] for message in self.take_all(*names)]

    def dead(self) -> list[amqp.Message]:
        """What has been dead-lettered, taken off."""
        return self.take_all(DEAD_LETTER_QUEUE)

    def publish(self, exchange: str, routing_key: str, message: amqp.Message) -> None:
        self.channel.basic_publish(message, exchange, routing_key=routing_key)


def arguments_of(message: amqp.Message) -> dict[str, Any]:
    """The keyword arguments of a task message."""
    body: list[dict[str, Any]] = json.loads(message.body)
    return body[1]


def headers_of(message: amqp.Message) -> dict[str, Any]:
    """The application's headers."""
    headers: dict[str, Any] = message.properties["application_headers"]
    return headers
