"""Celery's task events, for Flower: all of them arrive, soon, and in few messages."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp

from app.broker.message import JobMessage
from app.broker.topology import EXCHANGE
from app.ids import new_id
from tests.support.processes import Processes
from tests.support.queues import Queues
from tests.support.servers import wait_for

EVENTS = "celeryev"
JOBS = 40


@contextmanager
def heard(queues: Queues) -> Iterator[Callable[[], list[list[dict[str, Any]]]]]:
    """What has been sent about tasks since the block began: the events of each message."""
    channel = queues.channel
    channel.exchange_declare(EVENTS, type="topic", durable=True, auto_delete=False)
    queue = f"test-{new_id()}"
    channel.queue_declare(queue, exclusive=True)
    channel.queue_bind(queue, EVENTS, "task.#")
    messages: list[list[dict[str, Any]]] = []

    def so_far() -> list[list[dict[str, Any]]]:
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            read = json.loads(message.body)
            messages.append(read if isinstance(read, list) else [read])
        return messages

    yield so_far
    channel.queue_delete(queue)


def job_message() -> amqp.Message:
    """Of a job that isn't there: nothing to claim, and so done at once."""
    kind = "import.plan"
    return JobMessage(job_id=new_id(), kind=kind, version=1, attempt=1, queue="default").encode()


def test_events_come_in_batches(processes: Processes, queues: Queues) -> None:
    sent = [job_message() for _ in range(JOBS)]
    with heard(queues) as messages:
        processes.worker("default")
        for message in sent:
            queues.publish(EXCHANGE, "default", message)

        def succeeded() -> set[str]:
            events = [event for message in messages() for event in message]
            return {event["uuid"] for event in events if event["type"] == "task-succeeded"}

        wanted = {message.properties["message_id"] for message in sent}
        wait_for(lambda: succeeded() == wanted, what="the last event")
        assert len(messages()) <= JOBS / 2, [len(message) for message in messages()]
