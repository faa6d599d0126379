"""Counts requests by the route's template: as many series as there are routes, whatever is asked for."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import declared
from app.metrics.registry import counter, gauge, histogram

_REQUESTS = counter(declared.HTTP_REQUESTS)
_SECONDS = histogram(declared.HTTP_SECONDS)
_OPEN = gauge(declared.HTTP_OPEN)

UNMATCHED = "unmatched"
"""The route of what no route answers, such as scanners' guesses."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_GONE = 499


def route_of(scope: Scope) -> str:
    """The template of the route that was matched; paths themselves hold ids, and tokens."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def method_of(scope: Scope) -> str:
    """The request's, if it is one of HTTP's."""
    return scope["method"] if scope["method"] in _METHODS else "other"


class HttpMetrics:
    """ASGI middleware. A request that ends without an answer counts as 500, or 499 if its client had left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count one request, when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        counted = left = False

        def count(status: int) -> None:
            nonlocal counted
            counted = True
            method = method_of(scope)
            route = route_of(scope)
            _REQUESTS.labels(method, route, str(status)).inc()
            _SECONDS.labels(method, route).observe(time.perf_counter() - began)

        async def receiving() -> Message:
            nonlocal left
            message = await receive()
            left = left or message["type"] == "http.disconnect"
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        _OPEN.inc()
        try:
            await self._app(scope, receiving, sending)
        finally:
            _OPEN.dec()
            if not counted:
                count(_CLIENT_GONE if left else 500)
