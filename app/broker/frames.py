"""Messages as AMQP 0-9-1 frames, so that a batch of them is written at once.

The library writes each message by itself, after a look whether the broker has said anything meanwhile; for a batch
that is most of the work.
"""

from functools import lru_cache
from struct import pack

from amqp.basic_message import Message

_PUBLISH = (60, 40)
_MANDATORY = 1
_END = b"\xce"
_OVERHEAD = 8
"""Of each frame, in bytes."""


def publishing(channel: int, route: tuple[str, str], message: Message, *, frame_max: int) -> bytes:
    """`message` to the route's exchange and routing key, mandatory. A frame has at most `frame_max` bytes."""
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    properties = message._serialize_properties()  # type: ignore[attr-defined]  # noqa: SLF001 - what its own writer calls
    size = frame_max - _OVERHEAD
    return b"".join(
        (
            _method(channel, *route),
            _frame(2, channel, pack(">HHQ", _PUBLISH[0], 0, len(body)) + properties),
            *(_frame(3, channel, body[at : at + size]) for at in range(0, len(body), size)),
        )
    )


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + _END


@lru_cache(maxsize=1000)
def _method(channel: int, exchange: str, key: str) -> bytes:
    names = b"".join(pack(">B", len(name)) + name for name in (exchange.encode(), key.encode()))
    return _frame(1, channel, pack(">HHH", *_PUBLISH, 0) + names + pack(">B", _MANDATORY))
