"""Somebody else's web server, on loopback, that misbehaves on command."""

import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from app.outbound.addresses import Address

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Manner = Callable[["Conversation"], None]


class Conversation(BaseHTTPRequestHandler):
    """One connection; a manner writes to `wfile` whatever it likes."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def _handle(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        receiver.got.append(Got(method=self.command, path=self.path, headers=headers, body=body))
        self.close_connection = True
        manner = receiver.manners.popleft() if receiver.manners else receiver.usual
        with suppress(OSError):  # the client may have had enough
            manner(self)

    do_POST = do_GET = do_PUT = _handle  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Quietly."""

    @property
    def over(self) -> threading.Event:
        return self.server.receiver.over


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: "Receiver"

    def handle_error(self, *_: object) -> None:
        """A handshake that the client broke off is its own affair."""


class Receiver:
    """`manners` are used up one by one, then it is `usual`; `got` is all that came in whole."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.manners: deque[Manner] = deque()
        self.usual: Manner = answers(200, b"ok")
        self.over = threading.Event()
        self._server = _Server((LOOPBACK, 0), Conversation)
        self._server.receiver = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, path: str = "/hook", *, host: str = LOOPBACK, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def receiving(*, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(tls=tls)
    try:
        yield receiver
    finally:
        receiver.close()


def answers(status: int, body: bytes = b"", **headers: str) -> Manner:
    """Whole and at once; underscores in header names are dashes."""

    def manner(to: Conversation) -> None:
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.send_header("content-length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    return manner


def drips(first: bytes, *, every: float = 0.05) -> Manner:
    """`first`, and then a byte now and then, without end."""

    def manner(to: Conversation) -> None:
        to.wfile.write(first)
        while not to.over.wait(every):
            to.wfile.write(b"x")

    return manner


def floods(size: int) -> Manner:
    """A body of so many bytes."""

    def manner(to: Conversation) -> None:
        to.send_response(200)
        to.send_header("content-length", str(size))
        to.end_headers()
        for _ in range(size // 65536):
            to.wfile.write(b"y" * 65536)

    return manner


def breaks_off(to: Conversation) -> None:
    """Half an answer."""
    to.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


def hangs_up(to: Conversation) -> None:
    """No answer at all."""


class Names:
    """A resolver whose answers change: the first is used once, the last for ever."""

    def __init__(self, *answers: str) -> None:
        self.asked: list[str] = []
        self._answers = deque(answers)

    def __call__(self, host: str, port: int, seconds: float) -> list[Address]:
        self.asked.append(host)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
        return [ip_address(each) for each in answer.split()]
