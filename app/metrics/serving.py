"""`GET /metrics` of a process that has no HTTP of its own."""

import threading
from typing import Any
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from app.settings import Settings

log = structlog.get_logger()


class MetricsServer:
    """Serves `shown` from a thread, on MILLRACE_METRICS_PORT; without a port it does nothing.

    A port that is taken is logged, and no reason to stop working: Prometheus sees that nobody answers.
    """

    def __init__(self, settings: Settings, shown: CollectorRegistry) -> None:
        self._settings = settings
        self._shown = shown
        self._running: tuple[WSGIServer, threading.Thread] | None = None

    def start(self) -> None:
        """Begin to listen."""
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if not port:
            return
        try:
            made: Any = start_http_server(port, addr=host, registry=self._shown)
        except OSError as error:
            log.error("metrics.unavailable", host=host, port=port, error=str(error))  # noqa: TRY400
            return
        self._running = made
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
