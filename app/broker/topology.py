"""Every exchange, queue, binding and policy of the product, declared here alone.

`infra/rabbitmq/definitions.json` is this module's `definitions()`, written by `millrace topology export`
and held equal by a test. What correctness rests on (queue type, dead-letter exchange, at-least-once
dead-lettering, refusing instead of dropping when full) is a queue argument, because a lost policy must
not turn a dead letter into a lost one. What an operator may tune (delivery limit, length) is a policy.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqp import Channel

VHOST = "millrace"
EXCHANGE = "millrace"
DEAD_LETTER_EXCHANGE = "millrace.dead"
DEAD_LETTER_QUEUE = "dead"

DELIVERY_LIMIT = 20
"""Redeliveries after which the broker dead-letters a message; the ledger's own attempt limit comes first."""
DEAD_DELIVERY_LIMIT = 1_000_000
"""RabbitMQ 4 gives every quorum queue a limit of 20; beyond it, this one has nowhere to send a message."""
MAX_LENGTH = 10_000
"""Messages a work queue holds before it refuses more; the rest of the backlog waits in the outbox."""


class Queue(StrEnum):
    """The work queues, most urgent first. Each has a worker pool of its own."""

    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue, the exchange that feeds it and the routing key that it is bound with."""

    name: str
    exchange: str
    routing_key: str
    arguments: Mapping[str, str | bool]


@dataclass(frozen=True, slots=True)
class Shard:
    """A queue beside that of its pool: see app.broker.affinity."""

    pool: str
    number: int

    @property
    def queue(self) -> str:
        """Its name."""
        return f"{self.exchange_of(self.pool)}.{self.number}"

    @staticmethod
    def exchange_of(pool: str) -> str:
        """The exchange that the pool's shards are bound to."""
        return f"{pool}.near"


def pool_of(queue: str) -> str:
    """The work queue whose pool serves the queue: itself, or that of a shard."""
    return re.sub(_SHARD, "", queue)


WORK_QUEUE_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
EXCHANGES = (EXCHANGE, DEAD_LETTER_EXCHANGE)
QUEUES = (
    *(QueueSpec(queue.value, EXCHANGE, queue.value, WORK_QUEUE_ARGUMENTS) for queue in Queue),
    QueueSpec(DEAD_LETTER_QUEUE, DEAD_LETTER_EXCHANGE, "#", {"x-queue-type": "quorum"}),
)
_SHARD = r"\.near\.[0-9]+$"
_WORK_QUEUES = "^(" + "|".join(queue.value for queue in Queue) + r")(\.near\.[0-9]+)?$"


def declare(channel: "Channel") -> None:
    """Declare everything but the policies; safe to repeat.

    Raises amqp.PreconditionFailed when the broker has a queue of that name with other arguments.
    """
    for exchange in EXCHANGES:
        channel.exchange_declare(exchange, type="topic", durable=True, auto_delete=False)
    for queue in QUEUES:
        channel.queue_declare(
            queue.name, durable=True, auto_delete=False, arguments=dict(queue.arguments)
        )
        channel.queue_bind(queue.name, queue.exchange, queue.routing_key)


def definitions() -> dict[str, Any]:
    """The same as RabbitMQ's definitions file, policies included; no users and no permissions."""
    return {
        "vhosts": [{"name": VHOST}],
        "exchanges": [
            {
                "name": name,
                "vhost": VHOST,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name in EXCHANGES
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": VHOST,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.arguments,
            }
            for queue in QUEUES
        ],
        "bindings": [
            {
                "source": queue.exchange,
                "vhost": VHOST,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": queue.routing_key,
                "arguments": {},
            }
            for queue in QUEUES
        ],
        "policies": [
            _policy("work-queues", _WORK_QUEUES, DELIVERY_LIMIT, **{"max-length": MAX_LENGTH}),
            _policy("dead-letters", f"^{DEAD_LETTER_QUEUE}$", DEAD_DELIVERY_LIMIT),
        ],
    }


def _policy(name: str, pattern: str, delivery_limit: int, **more: int) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "definition": {"delivery-limit": delivery_limit, **more},
        "priority": 0,
    }
