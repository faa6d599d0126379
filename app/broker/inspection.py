"""What a broker has of the topology, and what our user may do there, asked over AMQP without changing anything.

A queue that is there is declared again, with what the code says of it: RabbitMQ does nothing where all is
equal, and says what isn't. One that isn't there is only named.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed

from app.broker.affinity import EXCHANGE_TYPE, OFF, Affinity
from app.broker.publisher import connect, guarded
from app.broker.topology import EXCHANGE, EXCHANGES, QUEUES
from app.settings import Settings

NOBODY = "millrace.doctor"
"""A routing key that no queue is bound with: a message with it comes back."""
ALARM_SECONDS = 0.3


class Trouble(StrEnum):
    """What can be wrong with a queue or an exchange."""

    MISSING = "missing"
    DIFFERENT = "different"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`said` is the broker's word."""

    name: str
    trouble: Trouble
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`version` has one number or more; `channels` is how many a connection may have."""

    product: str
    version: tuple[int, ...]
    channels: int


class Inspection:
    """A connection of its own. Raises BrokerAway, also from the methods, when the broker is away."""

    def __init__(self, settings: Settings) -> None:
        connection: Any = connect(settings, heartbeat=0)  # the stubs lack half of it
        self._connection = connection
        self._alarm = ""
        self._connection.on_blocked = self._on_blocked

    def server(self) -> Server:
        """Who answers."""
        facts = dict(self._connection.server_properties)
        numbers = str(facts.get("version", "0")).split("-")[0].split(".")
        return Server(
            product=str(facts.get("product", "")),
            version=tuple(int(number) for number in numbers if number.isdigit()),
            channels=int(self._connection.channel_max or 0),
        )

    def differences(self, affinity: Affinity = OFF) -> Iterator[Difference]:
        """Between the topology, with its shards, and the broker."""
        exchanges = [(name, "topic") for name in EXCHANGES]
        exchanges += [(name, EXCHANGE_TYPE) for name in affinity.exchanges]
        for exchange, kind in exchanges:
            facts: dict[str, Any] = {"exchange": exchange, "type": kind}
            yield from self._compare("exchange_declare", exchange, facts)
        for queue in (*QUEUES, *affinity.queues):
            facts = {"queue": queue.name, "arguments": dict(queue.arguments)}
            yield from self._compare("queue_declare", queue.name, facts)

    def refused_to_publish(self) -> str:
        """The broker's word when our user may not write to the exchange; else nothing."""
        with guarded():
            channel = self._connection.channel()
            channel.events["basic_return"].add(lambda *_: None)
            try:
                channel.basic_publish(
                    amqp.Message("", delivery_mode=1), EXCHANGE, NOBODY, mandatory=True
                )
                self._hear()
                if self._alarm:
                    return ""  # it reads nothing more of us
                # An answer to this comes after one to that.
                channel.exchange_declare(EXCHANGE, type="topic", passive=True)
            except AccessRefused as refused:
                return str(refused.reply_text)
            except NotFound:
                return ""  # it is among the differences
            channel.close()
        return ""

    def alarm(self) -> str:
        """Why the broker takes no messages, memory or disk; nothing when it does. To be asked after
        `refused_to_publish`: the broker says it to who has published.
        """
        with guarded():
            self._hear()
        return self._alarm

    def close(self) -> None:
        """Never raises."""
        with suppress(amqp.AMQPError, OSError):
            if not self._alarm:
                self._connection.close()
        self._connection.collect()

    def _hear(self) -> None:
        """What the broker says unasked, for ALARM_SECONDS or until it tells of an alarm. Raises AMQP's errors."""
        end = time.monotonic() + ALARM_SECONDS
        while not self._alarm and time.monotonic() < end:
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=0.1)

    def _compare(self, method: str, name: str, facts: dict[str, Any]) -> Iterator[Difference]:
        trouble = None
        with guarded():
            channel = self._connection.channel()
            try:
                getattr(channel, method)(**facts, passive=True)
                getattr(channel, method)(**facts, durable=True, auto_delete=False)
            except NotFound:
                trouble = Difference(name=name, trouble=Trouble.MISSING)
            except PreconditionFailed as different:
                trouble = Difference(
                    name=name, trouble=Trouble.DIFFERENT, said=str(different.reply_text)
                )
            except AccessRefused as refused:
                trouble = Difference(
                    name=name, trouble=Trouble.REFUSED, said=str(refused.reply_text)
                )
            else:
                channel.close()
        if trouble is not None:
            yield trouble

    def _on_blocked(self, reason: str) -> None:
        self._alarm = reason or "resource alarm"
