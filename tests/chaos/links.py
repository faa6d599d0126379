"""Which process speaks to which server through which link, and how a link is told to misbehave."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from infra.local.ports import LOOPBACK

SERVERS_OF: Mapping[str, tuple[str, ...]] = {
    "web": ("postgres", "s3"),
    "dispatcher": ("postgres", "rabbitmq", "s3"),
    "worker": ("postgres", "rabbitmq", "s3", "smtp", "provider"),
    "client": ("web-1", "web-2"),
}
"""Kind of process -> what it speaks to. `client` is whoever posts the jobs."""

LINKS = tuple(f"{kind}-{server}" for kind, servers in SERVERS_OF.items() for server in servers)


@dataclass(slots=True)
class Links:
    """The proxy's control port, for one order at a time. Raises OSError when the proxy is away."""

    port: int
    _lock: Lock = field(default_factory=Lock)

    def set(self, link: str, mode: str = "pass", **figures: float | str) -> int:
        """Begin a mode on a link; returns how many connections were open."""
        order = json.dumps({"link": link, "mode": mode, **figures}).encode() + b"\n"
        with self._lock, socket.create_connection((LOOPBACK, self.port), timeout=10) as control:
            control.sendall(order)
            with control.makefile("rb") as answers:
                answer = answers.readline()
        if not answer:
            raise ConnectionError("the proxy gave no answer")
        return int(json.loads(answer)["connections"])

    @contextmanager
    def disturbed(self, link: str, mode: str, **figures: float | str) -> Iterator[int]:
        """The link in that mode until the block ends, however it ends."""
        hit = self.set(link, mode, **figures)
        try:
            yield hit
        finally:
            self.set(link)
