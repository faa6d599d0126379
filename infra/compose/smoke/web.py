"""Requests to a stack's pages, with nothing but the standard library."""

import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as it came; redirects aren't followed. Headers are by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a stack's pages are."""

    port: int
    host: str = HOST
    tls: bool = False

    @classmethod
    def at(cls, url: str) -> "Door":
        """Of an address without a path, such as https://millrace.example.com. Raises ValueError."""
        found = urllib.parse.urlsplit(url)
        if found.scheme not in DEFAULT_PORTS or not found.hostname or found.path.strip("/"):
            raise ValueError(f"{url} is no address of a host")
        port = found.port or DEFAULT_PORTS[found.scheme]
        return cls(port, found.hostname, tls=found.scheme == "https")

    def connect(self, *, seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=seconds)


def ask(
    at: Door | int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    login: str | None = None,
    seconds: float = 30,
) -> Answer:
    """`at` a port is one of this machine; `login` is `user:password`. Raises OSError or http.client.HTTPException when
    nobody answers.
    """
    sent = dict(headers or {})
    if login is not None:
        sent["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    door = at if isinstance(at, Door) else Door(at)
    connection = door.connect(seconds=seconds)
    try:
        connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    named = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, named, content)
