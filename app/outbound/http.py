"""The product's HTTP client for addresses that customers name: webhooks, their own APIs.

    client = OutboundHttp.of(settings)
    answer = client.send("POST", url, headers=..., content=..., max_bytes=1024, excerpt=True)

What it promises, whatever the other side does:
- it connects to addresses of the open internet only, checked at the moment of connecting, by name, by
  number, in IPv4 or IPv6; `MILLRACE_OUTBOUND_ALLOWED_NETWORKS` adds networks;
- it follows no redirect: a 3xx is an answer like any other; it knows no proxy of the environment;
- the whole exchange, from the name's look-up to the last byte, ends within `seconds`;
- no more than `max_bytes` of the body are kept, as they came: nothing is unpacked.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import httpcore
import httpx

from app.outbound.addresses import Address, Network, Resolver, permitted, system_resolver
from app.outbound.errors import (
    AnswerTooLarge,
    ConnectionFailed,
    InvalidUrl,
    OutboundError,
    TimedOut,
)
from app.outbound.wire import CheckedTransport, Deadline
from app.settings import Settings
from app.traces.outgoing import told, traced

MAX_URL_CHARS = 2000
DEFAULT_SECONDS = 15.0
CHECK_SECONDS = 5.0
MAX_BYTES = 1024 * 1024
MAX_PORT = 65535
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`whole` is False where the body was cut, by us or on the way; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


@lru_cache(maxsize=1)
def _public_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class OutboundHttp:
    """Safe to share between threads; it holds no connection. `certificates` None are the public ones."""

    allowed: Sequence[Network] = ()
    resolver: Resolver = system_resolver
    certificates: ssl.SSLContext | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the networks that the operator allows."""
        return cls(allowed=settings.outbound_allowed_networks)

    def check(self, url: str) -> list[Address]:
        """The addresses at which it may be called, as of now. Raises OutboundError; nothing is connected to."""
        parsed = parse_url(url)
        port = parsed.port or _PORTS[parsed.scheme]
        found = self.resolver(parsed.raw_host.decode(), port, CHECK_SECONDS)
        return permitted(found, self.allowed)

    def all_allowed(self, addresses: Sequence[Address]) -> bool:
        """Whether all of them are in networks that the operator allows by name."""
        return all(any(each in network for network in self.allowed) for each in addresses)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        seconds: float = DEFAULT_SECONDS,
        max_bytes: int = MAX_BYTES,
        excerpt: bool = False,
    ) -> Answer:
        """One request, one answer, whatever its status.

        With `excerpt` the first `max_bytes` of the body will do, or what came of them before it broke off;
        without, a longer body is AnswerTooLarge. Raises OutboundError.
        """
        parsed = parse_url(url)
        transport = CheckedTransport(
            self.resolver,
            self.allowed,
            Deadline(seconds),
            self.certificates or _public_certificates(),
        )
        asked = {"accept-encoding": "identity", "connection": "close", **(headers or {})}
        with (
            traced(method, parsed, asked) as span,
            _translated(),
            httpx.Client(transport=transport, trust_env=False, timeout=seconds) as client,
            client.stream(
                method, parsed, headers=asked, content=content, follow_redirects=False
            ) as response,
        ):
            told(span, response.status_code)
            return _read(response, max_bytes, excerpt=excerpt)


def parse_url(url: str) -> httpx.URL:
    """An absolute http(s) URL without user and password. Raises InvalidUrl."""
    try:
        parsed = httpx.URL(url)
        usable = (
            len(url) <= MAX_URL_CHARS
            and url.isprintable()
            and " " not in url
            and parsed.scheme in _PORTS
            and bool(parsed.raw_host)
            and not parsed.userinfo
            and (parsed.port is None or 0 < parsed.port <= MAX_PORT)
        )
    except (httpx.InvalidURL, UnicodeError, ValueError):
        usable = False
    if not usable:
        raise InvalidUrl(
            f"The URL must be an absolute https URL of at most {MAX_URL_CHARS} characters, "
            "without user name and password."
        )
    return parsed


def _read(response: httpx.Response, max_bytes: int, *, excerpt: bool) -> Answer:
    body = bytearray()
    whole = True
    try:
        for block in response.iter_raw():
            body += block
            if len(body) > max_bytes:
                whole = False
                break
    except (httpx.HTTPError, OutboundError):
        if not excerpt:
            raise
        whole = False
    if not whole and not excerpt:
        raise AnswerTooLarge(f"The answer is longer than {max_bytes} bytes.")
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=bytes(body[:max_bytes]),
        whole=whole,
    )


class _translated:  # noqa: N801 - used as a statement
    """What the libraries raise, in our words; never with what the libraries quote."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case httpx.TimeoutException() | httpcore.TimeoutException():
                raise TimedOut("The answer was not complete in time.") from error
            case httpx.ConnectError():
                raise ConnectionFailed(_why(error)) from error
            case httpx.HTTPError() | httpx.InvalidURL() | httpcore.NetworkError():
                raise ConnectionFailed("The connection broke, or spoke no HTTP.") from error


def _why(error: httpx.ConnectError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "The server does not speak TLS as we do."
        cause = cause.__cause__ or cause.__context__
    return "The server could not be connected to."
