"""The broker's dead-letter queue, read message by message; and how many messages a queue has ready."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any
from uuid import UUID

import amqp

from app.broker.affinity import MARK, OFF, Affinity, declare_shards
from app.broker.publisher import connect, guarded
from app.broker.topology import DEAD_LETTER_QUEUE, declare, pool_of
from app.settings import Settings

_COUNTED = ("x-delivery-count", "x-acquired-count")
"""Headers that the broker adds when it hands a message out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A dead-lettered message. `queue` and `reason` are those of its first death, `queue` that of the pool where it
    was a shard; `reason` is RabbitMQ's word: rejected, delivery_limit, expired, maxlen. `job_id`, `kind` and `attempt` are None where the
    message doesn't say.
    """

    tag: int
    key: str
    redelivered: bool
    queue: str | None
    reason: str
    body: str
    headers: dict[str, Any]
    x_death: list[dict[str, Any]]
    job_id: UUID | None
    kind: str | None
    attempt: int | None


class DeadLetterQueue:
    """A connection of its own; not for use by several threads. Any method raises BrokerAway.

    What is taken comes back, to anybody, unless it is acknowledged on this connection.
    """

    def __init__(self, settings: Settings, affinity: Affinity = OFF) -> None:
        self._connection = connect(settings, heartbeat=0)
        with guarded():
            self._channel = self._connection.channel()
            declare(self._channel)
            declare_shards(self._channel, affinity)

    def take(self) -> DeadMessage | None:
        """The next message, or None."""
        with guarded():
            message = self._channel.basic_get(DEAD_LETTER_QUEUE)
        return None if message is None else read(message)

    def acknowledge(self, tag: int) -> None:
        """It is kept elsewhere now."""
        with guarded():
            self._channel.basic_ack(tag)

    def ready(self, queue: str) -> int:
        """How many messages wait in the queue for a consumer; those with a consumer don't count."""
        with guarded():
            answer = self._channel.queue_declare(queue, passive=True)
        return int(answer[1]) if answer else 0

    def length(self, queue: str) -> tuple[int, int]:
        """As `ready`, and how many consumers the queue has."""
        with guarded():
            answer = self._channel.queue_declare(queue, passive=True)
        return (int(answer[1]), int(answer[2])) if answer else (0, 0)

    def mark(self, shard: str, at: datetime) -> None:
        """Send a message that comes to the dead letters once all before it in the shard are gone, or is lost."""
        message = amqp.Message(
            "[]",
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            expiration="0",
            application_headers={MARK: f"{shard} {at.isoformat()}"},
        )
        with guarded():
            self._channel.basic_publish(message, "", routing_key=shard)

    def close(self) -> None:
        """Close politely; never raises and never hangs."""
        try:
            self._connection.close()
        except (amqp.AMQPError, OSError):
            self._connection.collect()


def read(message: amqp.Message) -> DeadMessage:
    """Whatever the message is: nothing that stands in it makes this fail."""
    raw = _raw(message.body)
    headers = dict(message.properties.get("application_headers") or {})
    deaths = [_plain(death) for death in _list(headers.pop("x-death", None))]
    first = deaths[-1] if deaths and isinstance(deaths[-1], dict) else {}
    queue = _text(first.get("queue"))
    arguments = _arguments(raw)
    attempt = arguments.get("attempt")
    for counted in _COUNTED:
        headers.pop(counted, None)
    identity = json.dumps([message.properties.get("message_id"), _plain(headers), deaths])
    return DeadMessage(
        tag=int(message.delivery_info["delivery_tag"]),
        key=hashlib.sha256(raw + identity.encode()).hexdigest(),
        redelivered=bool(message.delivery_info.get("redelivered")),
        queue=None if queue is None else pool_of(queue),
        reason=str(first.get("reason", "unknown")),
        body=raw.decode("utf-8", "backslashreplace"),
        headers=_plain(headers),
        x_death=deaths,
        job_id=_uuid(arguments.get("job_id")),
        kind=_text(headers.get("task")),
        attempt=attempt if isinstance(attempt, int) else None,
    )


def _raw(body: str | bytes) -> bytes:
    """The client decodes a body by the encoding that it claims to have, whatever comes out."""
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _arguments(raw: bytes) -> Mapping[str, Any]:
    """The keyword arguments of a task message; empty when it is none."""
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        arguments = json.loads(raw)[1]
        if isinstance(arguments, dict):
            return arguments
    return {}


def _uuid(value: object) -> UUID | None:
    with suppress(ValueError):
        return UUID(str(value))
    return None


def _plain(value: Any) -> Any:
    """What JSON can hold of an AMQP value."""
    match value:
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case datetime():
            return value.isoformat()
    exact = value is None or isinstance(value, str | int)
    return value if exact or (isinstance(value, float) and isfinite(value)) else str(value)
