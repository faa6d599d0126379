"""A proxy in front of PostgreSQL that counts what its clients ask of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_HEADER = 5


@dataclass(slots=True)
class Counts:
    """`round_trips`: times that a client sent something and then waited for the answer.

    `transactions`: times that the server said it was idle again after one.
    """

    round_trips: int = 0
    transactions: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self) -> None:
        with self._lock:
            self.round_trips += 1

    def ended(self, number: int) -> None:
        with self._lock:
            self.transactions += number


class _Session:
    """One client's connection. The server's messages are `type, length, ...`; `Z` says it is ready."""

    def __init__(self, client: socket.socket, server: socket.socket, counts: Counts) -> None:
        self._client, self._server, self._counts = client, server, counts
        self._answered = True
        self._left = b""

    def start(self) -> None:
        for run in (self._up, self._down):
            threading.Thread(target=run, daemon=True).start()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(65536):
                if self._answered:
                    self._answered = False
                    self._counts.asked()
                self._server.sendall(data)
        self._server.close()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                self._answered = True
                self._count(data)
                self._client.sendall(data)
        self._client.close()

    def _count(self, data: bytes) -> None:
        self._left += data
        ended = 0
        while len(self._left) >= _HEADER:
            size = 1 + int.from_bytes(self._left[1:_HEADER])
            if len(self._left) < size:
                break
            ended += self._left[:1] == b"Z" and self._left[_HEADER:size] == b"I"
            self._left = self._left[size:]
        self._counts.ended(ended)


@contextmanager
def counting(port: int) -> Iterator[tuple[int, Counts]]:
    """A port on which PostgreSQL's `port` answers, and the counts so far."""
    counts = Counts()
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Session(client, server, counts).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], counts
    finally:
        listener.close()
