"""The network below the HTTP client: connects to addresses that were checked, and to those alone.

The name is resolved once, here, and the connection goes to an address of that very answer: there is no
second look-up whose answer could differ. Host header, SNI and the certificate's name stay the URL's.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore
import httpx

from app.outbound.addresses import Address, Network, Resolver, permitted
from app.outbound.errors import TimedOut

PIECE_BYTES = 16 * 1024
MAX_TRIED = 4
"""A name may have hundreds of addresses."""


class Deadline:
    """The end of one whole exchange, by this process's own clock."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds. Raises TimedOut when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimedOut("The answer was not complete in time.")
        return left


class _TimedStream(httpcore.NetworkStream):
    """Each step gets what is left, so that many slow ones are not longer than one."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), PIECE_BYTES):
            self._inner.write(buffer[start : start + PIECE_BYTES], self._deadline.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    def __init__(self, resolver: Resolver, allowed: Sequence[Network], deadline: Deadline) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        found = permitted(self._resolver(host, port, self._deadline.left()), self._allowed)
        *others, last = list(dict.fromkeys(found))[:MAX_TRIED]
        options = list(socket_options or [])
        for address in others:
            try:
                return self._connect(address, port, local_address, options, share=2)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, local_address, options)

    def _connect(
        self,
        address: Address,
        port: int,
        local_address: str | None,
        options: list[httpcore.SOCKET_OPTION],
        *,
        share: int = 1,
    ) -> httpcore.NetworkStream:
        """`share`: use this part of the time that is left, and keep the rest for another address."""
        stream = self._inner.connect_tcp(
            str(address), port, self._deadline.left() / share, local_address, options
        )
        return _TimedStream(stream, self._deadline)


class CheckedTransport(httpx.HTTPTransport):
    """For one exchange: no proxy, no second use of the connection, HTTP/1.1."""

    def __init__(
        self,
        resolver: Resolver,
        allowed: Sequence[Network],
        deadline: Deadline,
        certificates: ssl.SSLContext,
    ) -> None:
        super().__init__(verify=certificates, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=certificates,
            max_connections=1,
            max_keepalive_connections=0,
            socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
            network_backend=_CheckedBackend(resolver, allowed, deadline),
        )
