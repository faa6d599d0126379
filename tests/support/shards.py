"""Shards as the tests see them: queues with a single active consumer, of which nobody can ask for one message."""

from collections.abc import Callable
from contextlib import suppress

import amqp

from tests.support.queues import Queues, arguments_of


def consuming(
    queues: Queues, lane: str, take: Callable[[amqp.Message], object], *, until: Callable[[], bool]
) -> None:
    """Have the lane's messages."""
    tag = queues.channel.basic_consume(lane, callback=take)
    try:
        while not until():
            with suppress(TimeoutError):
                queues.connection.drain_events(timeout=0.2)
    finally:
        queues.channel.basic_cancel(tag)


def empty(queues: Queues, lane: str) -> list[str]:
    """The ids of the jobs whose messages were there."""
    found: list[str] = []
    number = queues.depth(lane)

    def take(message: amqp.Message) -> None:
        queues.channel.basic_ack(message.delivery_info["delivery_tag"])
        found.append(arguments_of(message)["job_id"])

    consuming(queues, lane, take, until=lambda: len(found) >= number)
    return found


def give_back(queues: Queues, lane: str) -> None:
    """As often as the broker lets us."""
    consuming(
        queues,
        lane,
        lambda message: queues.channel.basic_reject(
            message.delivery_info["delivery_tag"], requeue=True
        ),
        until=lambda: queues.depth("dead") > 0,
    )
