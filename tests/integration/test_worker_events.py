"""Celery's task events, for Flower: once it asks, all of them arrive, soon, and in few messages."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import amqp
from celery import Celery
from celery.events.dispatcher import EventDispatcher
from kombu import Connection
from kombu.exceptions import OperationalError

from app.broker.message import JobMessage
from app.broker.topology import EXCHANGE
from app.ids import new_id
from app.settings import Settings
from tests.support.processes import Processes
from tests.support.queues import Queues
from tests.support.servers import wait_for
from workers.runtime.events import MOST_KEPT, BatchedEvents

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


def ask_for_events(settings: Settings) -> None:
    """As Flower does, every few seconds."""
    with Celery(broker=settings.broker_url.get_secret_value(), set_as_current=False) as flower:
        ask = flower.control.enable_events
        wait_for(lambda: ask(reply=True, timeout=1, limit=1), what="the worker's answer")


def test_events_come_once_somebody_asks_and_in_batches(
    processes: Processes, queues: Queues, settings: Settings
) -> None:
    unasked, sent = job_message(), [job_message() for _ in range(JOBS)]
    with heard(queues) as messages:
        processes.worker("default")
        queues.publish(EXCHANGE, "default", unasked)
        log = processes.log
        wait_for(lambda: "nothing_to_claim" in log("worker-default"), what="the first job")
        ask_for_events(settings)
        for message in sent:
            queues.publish(EXCHANGE, "default", message)

        def succeeded() -> set[str]:
            events = [event for message in messages() for event in message]
            return {event["uuid"] for event in events if event["type"] == "task-succeeded"}

        wanted = {message.properties["message_id"] for message in sent}
        wait_for(lambda: succeeded() >= wanted, what="the last event")
        assert len(messages()) <= JOBS / 2, [len(message) for message in messages()]
        named = {event["uuid"] for message in messages() for event in message}
        assert unasked.properties["message_id"] not in named


def test_a_dead_line_for_events_does_not_keep_the_worker_from_its_jobs(
    settings: Settings, queues: Queues
) -> None:
    """Celery would try for ever, in the loop that takes the jobs."""
    with Connection(settings.broker_url.get_secret_value()) as line:
        dispatcher: Any = EventDispatcher(line, enabled=True, buffer_while_offline=True)
        parent = SimpleNamespace(
            event_dispatcher=dispatcher, hub=object(), timer=Mock(), controller=Mock()
        )
        BatchedEvents(parent).start(parent)
        producer = Mock()
        producer.publish.side_effect = OperationalError("gone")
        dispatcher.producer = producer
        for _ in range(MOST_KEPT + 5):
            dispatcher.send("worker-heartbeat", retry=True)
    for call in producer.publish.call_args_list:
        assert call.kwargs["retry_policy"]["max_retries"] == 1
    assert len(dispatcher._outbound_buffer) == MOST_KEPT
