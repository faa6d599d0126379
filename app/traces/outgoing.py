"""HTTP requests that we make: method, host and status; no path, no query, which may be or hold a secret."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from app.traces import spans

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@contextmanager
def traced(
    method: str, url: httpx.URL, headers: MutableMapping[str, str]
) -> Iterator["Span | None"]:
    """Around a request to `url`, whose `headers` get our traceparent."""
    facts: dict[str, str | int] = {
        "http.request.method": method,
        "server.address": url.host,
        "url.scheme": url.scheme,
    }
    if url.port is not None:
        facts["server.port"] = url.port
    with spans.client(method, facts) as span:
        given = spans.carried_by(span)
        if given is not None:
            headers.setdefault("traceparent", given)
        yield span


def told(span: "Span | None", status: int) -> None:
    """The answer has begun."""
    if span is not None:
        span.set_attribute("http.response.status_code", status)
