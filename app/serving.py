"""The web server's process, which stops without a caller noticing.

SIGTERM -> /readyz answers 503 and every answer says `Connection: close`, for `web_drain_seconds`: load
balancers look away, clients let go of their connections, and whoever comes meanwhile is still served.
Then nothing new is accepted, what is open is finished, for GRACE_SECONDS at most, and the exit status is 0.
A second signal ends the process at once.
"""

import asyncio
import signal
import socket
import sys
import time
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app
from app.server_limits import check_at_start
from app.settings import Settings

log = structlog.get_logger()

GRACE_SECONDS = 60
"""How long an open request, an upload say, may go on once nothing new is accepted."""
KEEP_ALIVE_SECONDS = 75
"""Idle connections are kept for longer than load balancers keep theirs (60 s for most): who lets go first
must be the one that sends the next request, or it sends that into a connection that is being closed.
"""
CLEAN_UP_SECONDS = 5.0
"""How long a request that was cut off may take to clear away what it left."""
TICK_SECONDS = 0.1


class Server(uvicorn.Server):
    """Serves `app` and drains it; a process of its own, which has the signals to itself."""

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str,
        port: int,
        drain_seconds: float,
        grace_seconds: int = GRACE_SECONDS,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                _closing_when_draining(app),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=grace_seconds,
            )
        )
        self._app = app
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal drains. uvicorn's own method also repeats it at the end: exit status 143."""
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.should_exit = True

    async def main_loop(self) -> None:
        """Serve until told to stop, and then for the time of the drain; uvicorn finishes what is open."""
        await super().main_loop()
        log.info("web.draining", seconds=self._drain_seconds)
        self._app.state.draining = True
        end = time.monotonic() + self._drain_seconds
        tick = 0
        while time.monotonic() < end:
            await asyncio.sleep(TICK_SECONDS)
            await self.on_tick(tick)  # keeps the Date header right
            tick += 1

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, which cancels what goes on for too long, but wait until that has cleaned up."""
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=CLEAN_UP_SECONDS)


def run(settings: Settings, *, host: str, port: int) -> None:
    """The process: runs until SIGTERM or SIGINT. Exit status 3 when it can't start, 78 when the plan of
    connections is over a limit.
    """
    app = create_app(settings)
    check_at_start(settings)
    server = Server(app, host=host, port=port, drain_seconds=settings.web_drain_seconds)
    server.run()
    if not server.started:
        sys.exit(3)
    log.info("web.stopped")


def _closing_when_draining(app: FastAPI) -> ASGIApp:
    """`app`, whose answers close their connections once it drains, also those to earlier requests."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and app.state.draining:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await app(scope, receive, send_closing)

    return closing
