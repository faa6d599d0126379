"""Shards of a pool: queues beside its own, and in them always the same tenants' jobs.

RabbitMQ's consistent-hash exchange hashes the tenant's id to a shard. Every worker of the pool stands in line at every
shard, and the broker serves the first in each line alone: whoever goes, the next one has the shard at once. Who
ought to be first follows from the workers' names, and who is it without being meant to goes to the end of the line.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from app.broker.topology import WORK_QUEUE_ARGUMENTS, QueueSpec, Shard

if TYPE_CHECKING:
    from amqp import Channel

    from app.broker.message import JobMessage
    from app.broker.publisher import Publisher

EXCHANGE_TYPE = "x-consistent-hash"
PLUGIN = "rabbitmq_consistent_hash_exchange"
MOST_SHARDS = 64
"""Of a pool."""
WEIGHT = "1"
"""The routing key of a binding to such an exchange: how much of the hash's range the queue gets, beside the others."""
SHARD_ARGUMENTS: Mapping[str, str | bool] = {
    **WORK_QUEUE_ARGUMENTS,
    "x-single-active-consumer": True,
}


MARK = "x-millrace-mark"
"""Header of a message that says only when it was sent; see `app.housekeeping.passages`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Which kinds of job go to shards, the pools of these, and how many shards each has; 0: nothing goes to any."""

    shards: int = 0
    kinds: frozenset[str] = frozenset()
    pools: tuple[str, ...] = ()

    def shards_of(self, pool: str) -> list[QueueSpec]:
        """None for a pool without such kinds."""
        if pool not in self.pools:
            return []
        return [
            QueueSpec(Shard(pool, number).queue, Shard.exchange_of(pool), WEIGHT, SHARD_ARGUMENTS)
            for number in range(self.shards)
        ]

    @property
    def queues(self) -> list[QueueSpec]:
        """All shards of all pools."""
        return [shard for pool in self.pools for shard in self.shards_of(pool)]

    @property
    def exchanges(self) -> list[str]:
        """One for each pool that has shards."""
        return [Shard.exchange_of(pool) for pool in self.pools if self.shards]


OFF = Affinity()


def declare_shards(channel: "Channel", affinity: Affinity) -> None:
    """The queues alone, for which the broker needs no plugin; safe to repeat. As `topology.declare`."""
    for shard in affinity.queues:
        channel.queue_declare(
            shard.name, durable=True, auto_delete=False, arguments=dict(shard.arguments)
        )


def declare_exchanges(channel: "Channel", affinity: Affinity) -> None:
    """The exchanges, bound to the pool's shards and to no others. Raises amqp's errors: without the plugin the broker
    closes the whole connection.
    """
    for exchange in affinity.exchanges:
        channel.exchange_declare(exchange, type=EXCHANGE_TYPE, durable=True, auto_delete=False)
    for shard in affinity.queues:
        channel.queue_bind(shard.name, shard.exchange, shard.routing_key)
    for pool in affinity.pools:  # there were more once: nobody serves them any longer
        for number in range(affinity.shards, MOST_SHARDS):
            former = Shard(pool, number)
            channel.queue_unbind(former.queue, former.exchange_of(pool), WEIGHT)


def publish_near(publisher: "Publisher", messages: Sequence["JobMessage"]) -> list[bool]:
    """As `Publisher.publish`; what the broker takes for no shard goes to its pool's own queue instead: to be near is a
    wish, to be done is the promise.
    """
    taken = publisher.publish(messages)
    again = [
        number
        for number, (message, ok) in enumerate(zip(messages, taken, strict=True))
        if message.near is not None and not ok
    ]
    if again:
        answers = publisher.publish([replace(messages[number], near=None) for number in again])
        for number, ok in zip(again, answers, strict=True):
            taken[number] = ok
    return taken


def mark_of(headers: Mapping[str, Any]) -> tuple[str, datetime] | None:
    """The shard that a mark was sent through, and when; None for any other message."""
    words = headers.get(MARK)
    if not isinstance(words, str):
        return None
    shard, _, sent_at = words.partition(" ")
    with suppress(ValueError):
        at = datetime.fromisoformat(sent_at)
        return None if at.tzinfo is None else (shard, at)
    return None


def share_out(shards: int, workers: Sequence[str]) -> dict[str, list[int]]:
    """Which shards each of the workers is to serve: the same for whoever asks, in whatever order they are named.

    Rendezvous hashing with a limit: no worker has more than its share, rounded up, and few shards move when one
    comes or goes.
    """
    served: dict[str, list[int]] = {worker: [] for worker in sorted(workers)}
    most = -(-shards // max(1, len(served)))
    for shard in range(shards):
        free = [worker for worker, has in served.items() if len(has) < most]
        if free:
            served[max(free, key=lambda worker: _score(shard, worker))].append(shard)
    return served


def _score(shard: int, worker: str) -> bytes:
    return sha256(f"{shard} {worker}".encode()).digest()
