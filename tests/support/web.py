"""The web process, on a loopback port, in a thread of the test."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute

from app.aftermath import AFTERMATHS
from app.jobs import CATALOG
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.main import create_app
from app.settings import Settings
from tests.support.servers import wait_for

HOST = "127.0.0.1"
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak no TLS: reading the public certificates takes longer than most tests."""
_routes: list[BaseRoute] = []
"""Those of the first application."""


def plain_client(url: str, *, headers: dict[str, str] | None = None) -> httpx.Client:
    """For loopback alone, without TLS."""
    return httpx.Client(
        base_url=url, headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES
    )


class _Server(uvicorn.Server):
    """Uvicorn's, which looks ten times a second whether it is to end, and then waits for whoever may still be
    there: this one is told, and waits only where somebody is. Some hundred tests have one each.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if await self._anybody_there():
            await super().shutdown(sockets)
        else:
            for server in self.servers:
                server.close()
                await server.wait_closed()
            await self.lifespan.shutdown()

    async def _anybody_there(self) -> bool:
        """Whoever has left is noticed in a moment."""
        for _ in range(10):
            if not (self.server_state.connections or self.server_state.tasks):
                return False
            await asyncio.sleep(0.002)
        return True

    def end(self) -> None:
        """From another thread."""
        self.should_exit = True
        if self.started:
            self._loop.call_soon_threadsafe(self._told.set)


class Web:
    """A real server on the real application."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server
        self.port = int(server.servers[0].sockets[0].getsockname()[1])

    @property
    def busy(self) -> bool:
        """Whether a request is being worked on, its client still there or not."""
        return bool(self._server.server_state.tasks)

    def client(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return plain_client(f"http://{HOST}:{self.port}", headers=headers)

    def connect(self) -> socket.socket:
        """A raw connection, for what no client library would send."""
        return socket.create_connection((HOST, self.port), timeout=20)


def application(
    settings: Settings, *, catalog: Catalog = CATALOG, aftermaths: Aftermaths = AFTERMATHS
) -> FastAPI:
    """The product's, with the routes of the first one: what FastAPI finds out about each route when a request comes by
    is the same for all, and takes it longer than most tests.
    """
    made = create_app(settings, catalog=catalog, aftermaths=aftermaths)
    if not _routes:
        _routes.extend(made.router.routes)
    made.router.routes[:] = _routes
    return made


@contextmanager
def web_server(
    settings: Settings,
    *,
    catalog: Catalog = CATALOG,
    aftermaths: Aftermaths = AFTERMATHS,
    port: int = 0,
) -> Iterator[Web]:
    """Serve until the block ends; port 0 is any free one."""
    config = uvicorn.Config(
        application(settings, catalog=catalog, aftermaths=aftermaths),
        host=HOST,
        port=port,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, name="web")
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), what="the web server")
        yield Web(server)
    finally:
        server.end()
        thread.join(15)
