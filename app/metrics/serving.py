"""`/metrics`, `/livez` and `/readyz` of a process that has no HTTP of its own."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

from app.health import OK, Heartbeat, all_ok
from app.settings import Settings

log = structlog.get_logger()

Checks = Mapping[str, Callable[[], str]]
"""Server -> who asks it, and answers `ok` or why not; within a bounded time."""
_STATUS = {True: "200 OK", False: "503 Service Unavailable"}


class _Handler(WSGIRequestHandler):
    timeout = 10
    """A caller that says nothing holds a thread for so long."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Nothing: a line for every probe would be most of the log."""


class _Server6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class StatusServer:
    """Serves the metrics in `shown` and the process's health, on MILLRACE_METRICS_PORT; without a port it
    does nothing. `/livez` asks the heartbeat alone, `/readyz` the `checks`.

    A port that is taken is logged, and no reason to stop working: Prometheus sees that nobody answers.
    """

    def __init__(
        self, settings: Settings, shown: CollectorRegistry, *, heartbeat: Heartbeat, checks: Checks
    ) -> None:
        self._settings = settings
        self._metrics = make_wsgi_app(shown)
        self._heartbeat = heartbeat
        self._checks = checks
        self._running: tuple[Any, threading.Thread] | None = None

    def start(self) -> None:
        """Begin to listen."""
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if not port:
            return
        try:
            served_by = _Server6 if ":" in host else ThreadingWSGIServer
            server = make_server(host, port, self._answer, served_by, _Handler)
        except OSError as error:
            log.error("metrics.unavailable", host=host, port=port, error=str(error))  # noqa: TRY400
            return
        thread = threading.Thread(target=server.serve_forever, name="status", daemon=True)
        thread.start()
        self._running = server, thread
        log.info("metrics.serving", host=host, port=port)

    def stop(self) -> None:
        """End; the port is free afterwards."""
        if self._running is not None:
            server, thread = self._running
            server.shutdown()
            server.server_close()
            thread.join(1.0)
            self._running = None

    def let_go(self) -> None:
        """In a child that was forked: the port is its parent's, and free when that ends."""
        if self._running is not None:
            self._running[0].socket.close()
            self._running = None

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """As WSGI has it."""
        match environ["PATH_INFO"]:
            case "/livez":
                alive = self._heartbeat.alive()
                body: dict[str, Any] = {"status": OK if alive else "stuck"}
                return _say(start_response, body, good=alive)
            case "/readyz":
                checks = {name: ask() for name, ask in self._checks.items()}
                good = all_ok(checks)
                body = {"status": OK if good else "unavailable", "checks": checks}
                return _say(start_response, body, good=good)
        answer: Iterable[bytes] = self._metrics(environ, start_response)
        return answer


def _say(start_response: Any, body: Mapping[str, Any], *, good: bool) -> list[bytes]:
    start_response(_STATUS[good], [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
