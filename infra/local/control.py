"""XML-RPC over a Unix socket, which the standard library's client does not speak by itself."""

import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy, Transport


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(Transport):
    """One connection per call, closed at its end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = (host, connection)  # what `close` closes
        return connection

    def single_request(self, *request: Any, **options: Any) -> Any:
        try:
            return super().single_request(*request, **options)
        finally:
            self.close()


def connect(path: Path) -> ServerProxy:
    """A client of the server behind `path`; its calls raise OSError when nobody listens."""
    return ServerProxy("http://localhost", transport=_UnixTransport(path))
