"""Shards as the tests see them: queues with a single active consumer, of which nobody can ask for one message."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import amqp

from app.broker.affinity import Affinity
from tests.support.queues import Queues, arguments_of


def consuming(
    queues: Queues, lane: str, take: Callable[[amqp.Message], object], *, until: Callable[[], bool]
) -> None:
    """Have the lane's messages."""
    tag = queues.channel.basic_consume(lane, callback=take)
    try:
        _drain(queues, until=until)
    finally:
        queues.channel.basic_cancel(tag)


def _drain(queues: Queues, *, until: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not until():
        assert monotonic() < deadline
        with suppress(TimeoutError):
            queues.connection.drain_events(timeout=0.2)


def empty(queues: Queues, lane: str) -> list[str]:
    """The ids of the jobs whose messages were there."""
    found: list[str] = []
    number = queues.depth(lane)

    def take(message: amqp.Message) -> None:
        queues.channel.basic_ack(message.delivery_info["delivery_tag"])
        found.append(arguments_of(message)["job_id"])

    consuming(queues, lane, take, until=lambda: len(found) >= number)
    return found


def take_some(queues: Queues, lane: str, number: int) -> None:
    """As a worker does, one after the other; what comes next is given back."""
    channel = queues.connection.channel()
    channel.basic_qos(0, 1, False)
    taken: list[int] = []

    def take(message: amqp.Message) -> None:
        if len(taken) < number:
            taken.append(message.delivery_info["delivery_tag"])
            channel.basic_ack(taken[-1])

    channel.basic_consume(lane, callback=take)
    _drain(queues, until=lambda: len(taken) >= number)
    channel.close()


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


def remove(queues: Queues, affinity: Affinity) -> None:
    for shard in affinity.queues:
        queues.channel.queue_delete(shard.name)
    for exchange in affinity.exchanges:
        queues.channel.exchange_delete(exchange)
