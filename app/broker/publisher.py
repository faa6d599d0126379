"""The one publisher: many messages over one channel, their confirms awaited together.

Waiting for each confirm in turn costs a round trip a message; a pipelined window costs one for all.
Every wait is bounded (`confirm_timeout`), and a broker that refuses is not an error: the caller learns
which messages were taken and keeps the others.
"""

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import amqp
import structlog
from amqp.exceptions import AMQPError, InvalidCommand

from app.broker.affinity import OFF, PLUGIN, Affinity, declare_exchanges, declare_shards
from app.broker.frames import publishing
from app.broker.topology import declare
from app.errors import BrokerAway
from app.settings import Settings

log = structlog.get_logger()

HEARTBEAT_SHARE = 0.75
"""Of `silence_seconds`, from heartbeat to heartbeat. A broker that misses two is gone; one that doesn't even
acknowledge ours, sooner."""

CHANNEL = 1
SMALLEST_FRAME_MAX = 4096
"""Of any broker, in bytes."""
WRITE_BYTES = 64 * 1024
"""Messages are gathered until there is so much to write."""


def heartbeat_of(settings: Settings) -> int:
    """In seconds, at least 1."""
    return max(1, int(settings.silence_seconds * HEARTBEAT_SHARE))


def close(connection: amqp.Connection) -> None:
    """Politely; never raises and never hangs."""
    try:
        connection.close()
    except (AMQPError, OSError):
        connection.collect()


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever the broker or the network does to us is BrokerAway."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise BrokerAway(f"{type(error).__name__}: {error}") from error


def connect(settings: Settings, *, heartbeat: int | None = None) -> amqp.Connection:
    """An open AMQP connection, each socket operation bounded by the confirm time-out.

    Raises BrokerAway.
    """
    url = urlsplit(settings.broker_url.get_secret_value())
    secure = url.scheme == "amqps"
    host = url.hostname or "localhost"
    connection = amqp.Connection(
        host=f"{host}:{url.port or (5671 if secure else 5672)}",
        userid=unquote(url.username or "guest"),
        password=unquote(url.password or "guest"),
        virtual_host=unquote(url.path[1:]) or "/",
        ssl={"context": ssl.create_default_context(), "server_hostname": host} if secure else False,
        heartbeat=heartbeat_of(settings) if heartbeat is None else heartbeat,
        connect_timeout=5,
        read_timeout=settings.confirm_timeout,
        write_timeout=settings.confirm_timeout,
        client_properties={"connection_name": "millrace-dispatcher"},
    )
    with guarded():
        connection.connect()
    return connection


def prepare_shards(settings: Settings, wished: Affinity) -> Affinity:
    """Declare what `wished` needs, on a connection of its own: a broker without the plugin closes it. Returns what may
    then be used: nothing, there, for jobs run anywhere too. Raises BrokerAway.
    """
    if not wished.queues:
        return wished
    connection = connect(settings, heartbeat=0)
    try:
        with guarded():
            channel = connection.channel()
            declare_shards(channel, wished)
            try:
                declare_exchanges(channel, wished)
            except InvalidCommand:
                log.error("affinity.without_plugin", plugin=PLUGIN)  # noqa: TRY400 - all is said
                return OFF
    finally:
        close(connection)
    return wished


class Publishable(Protocol):
    """What can be published: where to, its id, and how it is written."""

    @property
    def route(self) -> tuple[str, str]:
        """Exchange and routing key."""

    @property
    def message_id(self) -> UUID:
        """The message's own."""

    def encode(self) -> amqp.Message:
        """The AMQP message, with that message id."""


@dataclass(slots=True)
class _Window:
    """The messages of one batch that the broker has not answered yet, by delivery tag."""

    waiting: dict[int, int]
    refused: set[int]

    def settle(self, tag: int, multiple: bool, *, taken: bool) -> None:
        tags = [known for known in self.waiting if known <= tag] if multiple else [tag]
        for known in tags:
            index = self.waiting.pop(known, None)
            if index is not None and not taken:
                self.refused.add(index)


class Publisher:
    """A connection to the broker with a confirming channel; not for use by several threads.

    Raises BrokerAway from any method when the broker is away: close it and make a new one.
    """

    def __init__(self, settings: Settings, *, heartbeat: int | None = None) -> None:
        self._timeout = settings.confirm_timeout
        self._connection = connect(settings, heartbeat=heartbeat)
        with guarded():
            self._channel = self._connection.channel(CHANNEL)
            declare(self._channel)
            self._channel.confirm_select()
        self._frame_max = self._connection.frame_max or SMALLEST_FRAME_MAX
        self._next_tag = 1
        self._window = _Window({}, set())
        self._unroutable: set[str] = set()
        events = self._channel.events  # type: ignore[attr-defined]  # the stubs lack it
        events["basic_ack"].add(self._on_ack)
        events["basic_nack"].add(self._on_nack)
        events["basic_return"].add(self._on_return)

    def publish(self, messages: Sequence[Publishable]) -> list[bool]:
        """Publish all, wait for all answers; True where the broker took the message for good.

        A message that no queue is bound for, or that a full queue refused, is False. Raises
        BrokerAway when not all answers came in time: then any of them may have been taken.
        """
        self._window = _Window({}, set())
        self._unroutable.clear()
        written = bytearray()
        with guarded():
            for index, message in enumerate(messages):
                self._window.waiting[self._next_tag] = index
                self._next_tag += 1
                written += publishing(
                    CHANNEL,
                    message.route,
                    message.encode(),
                    frame_max=self._frame_max,
                )
                if len(written) >= WRITE_BYTES:
                    self._connection.transport.write(bytes(written))
                    written.clear()
                    self._listen()
            self._connection.transport.write(bytes(written))
            self._await_confirms()
        return [
            index not in self._window.refused and str(message.message_id) not in self._unroutable
            for index, message in enumerate(messages)
        ]

    def depth(self, queue: str) -> int:
        """How many messages of the queue no consumer has yet."""
        with guarded():
            answer = self._channel.queue_declare(queue, passive=True)
        return 0 if answer is None else answer[1]

    def keep_alive(self) -> None:
        """Read what the broker has sent, without waiting for more, and send a heartbeat when one is due; call it every
        second or so.
        """
        with guarded():
            self._listen()
            self._connection.heartbeat_tick()

    def close(self) -> None:
        """Close politely; never raises and never hangs."""
        close(self._connection)

    def _listen(self) -> None:
        """Read what the broker has said so far: it must never wait for us."""
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0)

    def _await_confirms(self) -> None:
        deadline = time.monotonic() + self._timeout
        while self._window.waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(self._window.waiting)} confirms are missing")
            self._connection.drain_events(timeout=left)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._window.settle(tag, multiple, taken=True)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._window.settle(tag, multiple, taken=False)

    def _on_return(
        self, _error: Exception, _exchange: str, _routing_key: str, message: amqp.Message
    ) -> None:
        self._unroutable.add(message.properties["message_id"])
