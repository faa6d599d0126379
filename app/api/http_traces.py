"""A span for each request, by its route's template; the trace that its caller names goes on."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http_metrics import method_of, route_of
from app.logs import bound
from app.traces import spans
from app.traces.live import failed

UNTRACED = ("/healthz", "/readyz", "/metrics", "/console/static/")
"""Asked for all the time, by machines, and of no interest."""
_SERVER_ERROR = 500


class HttpTraces:
    """ASGI middleware, for an application that traces. Paths, queries and headers are told to nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trace one request, until its answer has ended."""
        live = spans.live()
        if scope["type"] != "http" or live is None or scope["path"].startswith(UNTRACED):
            await self._app(scope, receive, send)
            return
        method = method_of(scope)
        caller = Headers(scope=scope).get("traceparent")
        facts = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with live.request(caller, facts) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _SERVER_ERROR:
                        failed(span, str(message["status"]))
                await send(message)

            heard = sending if span.is_recording() else send
            with bound(trace_id=spans.trace_id_of(live.place_of(span))):
                try:
                    await self._app(scope, receive, heard)
                finally:
                    route = route_of(scope)
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
