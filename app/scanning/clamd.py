r"""clamd's INSTREAM protocol: a file goes over in chunks of its own, and one line comes back.

    zINSTREAM\0  <length, 4 bytes, big-endian> <bytes> ...  <0, 4 bytes>
    stream: OK\0   |   stream: NAME FOUND\0   |   WHY ERROR\0

clamd answers before the end when it has had enough (StreamMaxLength), and closes: what we then see is a
broken pipe, and its reason is still to be read.
"""

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from app.errors import ScannerAway, Unprocessable

CHUNK_BYTES = 256 * 1024
CONNECT_SECONDS = 5.0
DEFAULT_PORT = 3310
_MAX_REPLY_BYTES = 4096
_OVER_LIMITS = "Heuristics.Limits.Exceeded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What clamd says of a file: `signature` names what it found, None is clean."""

    signature: str | None


class Clamd:
    """A clamd at `tcp://host:port` or `unix:///path/of/its.socket`; one connection per scan.

    `seconds` is how long each step may take: a chunk to be taken, the reply to come. Raises ValueError
    for an address that is neither.
    """

    def __init__(self, url: str, *, seconds: float) -> None:
        parts = urlsplit(url)
        self._seconds = seconds
        self._path: str | None = None
        if parts.scheme == "unix" and parts.path:
            self._path = unquote(parts.path)
        elif parts.scheme == "tcp" and parts.hostname:
            self._address = (parts.hostname, parts.port or DEFAULT_PORT)
        else:
            raise ValueError("clamd's address is tcp://host:port or unix:///path")

    def scan(self, blocks: Iterable[bytes]) -> Verdict:
        """Scan the bytes, in bounded memory. Raises ScannerAway when clamd can't be reached, stops
        answering or fails, and Unprocessable (`too_large_to_scan`) for a file that it won't look at as a
        whole: neither is a verdict, and the file is not to be let through.
        """
        try:
            with self._connect() as connection:
                connection.settimeout(self._seconds)
                sent_all = _send(connection, blocks)
                return _verdict(_reply(connection), sent_all=sent_all)
        except OSError as error:
            raise ScannerAway(
                "The virus scanner doesn't answer; nothing is let through unscanned. Try again later."
            ) from error

    def _connect(self) -> socket.socket:
        if self._path is None:
            return socket.create_connection(self._address, CONNECT_SECONDS)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(self._path)
        except BaseException:
            connection.close()
            raise
        return connection


def _send(connection: socket.socket, blocks: Iterable[bytes]) -> bool:
    """Whether clamd took all of it; else its reply says why not. What `blocks` raises comes through."""
    if not _sent(connection, b"zINSTREAM\0"):
        return False
    for block in blocks:
        view = memoryview(block)
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            if not _sent(connection, struct.pack("!L", len(chunk)) + chunk):
                return False
    return _sent(connection, struct.pack("!L", 0))


def _sent(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _reply(connection: socket.socket) -> str:
    """Clamd's one line; empty when it said nothing."""
    reply = b""
    with suppress(ConnectionResetError):  # it closed while we were sending; its words may have come
        while len(reply) < _MAX_REPLY_BYTES and b"\0" not in reply:
            data = connection.recv(_MAX_REPLY_BYTES)
            if not data:
                break
            reply += data
    return reply.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _verdict(reply: str, *, sent_all: bool) -> Verdict:
    if reply == "stream: OK" and sent_all:
        return Verdict(None)
    if reply.endswith(" FOUND"):
        signature = reply.removeprefix("stream: ").removesuffix(" FOUND")
        if not signature.startswith(_OVER_LIMITS):
            return Verdict(signature)
        raise _too_large(signature)
    if "size limit exceeded" in reply:
        raise _too_large("StreamMaxLength")
    raise ScannerAway(
        f"The virus scanner gave no verdict ({reply[:200] or 'it closed the connection'}); nothing is "
        "let through unscanned. Try again later."
    )


def _too_large(limit: str) -> Unprocessable:
    return Unprocessable(
        f"The file is more than the virus scanner looks at ({limit}), and nothing is let through "
        "unscanned. Send it in smaller parts.",
        code="too_large_to_scan",
    )
