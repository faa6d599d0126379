"""Enqueue: durable posts through the API, against the usual endpoint that calls `task.delay()`.

Each side is one uvicorn process, asked by as many clients over connections that stay open. Ours checks the
key and what may be posted, and commits job, history and outbox row, with fsync on; nothing takes the jobs meanwhile. The
baseline publishes to a quorum queue and waits for the broker's confirm; it has no key, no record and no check.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from rich.console import Console
from sqlalchemy import text

from app.db import make_engine
from app.settings import Settings
from bench.report import Result
from bench.servers import HOME
from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK
from infra.local.program import MARKER
from infra.local.system import LocalSystem
from infra.local.tenant import make_tenant
from infra.local.waiting import until

POSTS = 3000
CLIENTS = 16
ROUNDS = 5
BODY = {"kind": "report.daily", "payload": {"day": "2026-01-31"}}


def run() -> Result:
    runs: list[tuple[float, float]] = []
    servers = ("postgres", "epmd", "rabbitmq", "s3", "web")
    with LocalSystem(HOME, programs=servers, say=print) as system:
        tenant = make_tenant(system, "bench", email="bench@example.com")
        engine = make_engine(Settings.of(system.settings), pool_size=1, application_name="bench")
        ours = (int(system.web_url.rsplit(":", 1)[1]), tenant.api_key)
        with stock(system) as port:
            for side in (ours, (port, "none")):
                asyncio.run(_rate(*side, posts=POSTS // 5))
            for number in range(ROUNDS):
                with engine.begin() as tx:
                    tx.execute(text("TRUNCATE jobs, job_history, outbox"))
                rates = asyncio.run(_rate(*ours)), asyncio.run(_rate(port, "none"))
                with engine.connect() as tx:
                    kept = tx.execute(text("SELECT count(*) FROM outbox")).scalar_one()
                assert kept == POSTS, f"{kept} of {POSTS} jobs are in the outbox"
                runs.append(rates)
                Console().print(
                    f"round {number + 1}: {rates[0]:,.0f} against {rates[1]:,.0f} posts/s"
                )
        engine.dispose()
    return Result(
        name="enqueue",
        unit="posts/s",
        goal=1.5,
        baseline_is="FastAPI and task.delay(), with publisher confirms",
        runs=runs,
        notes={"posts": POSTS, "clients": CLIENTS},
    )


@contextmanager
def stock(system: LocalSystem) -> Iterator[int]:
    """The baseline's web process; its port."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    command = ["uvicorn", "bench.enqueue_stock:app", f"--port={port}", "--no-access-log"]
    with system.layout.log_of("bench-stock-web").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **system.settings, MARKER: str(system.layout.home)},
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        assert until(lambda: _answers(port), seconds=40), "the baseline isn't ready"
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/openapi.json").is_success
    except httpx.TransportError:
        return False


async def _rate(port: int, key: str, *, posts: int = POSTS) -> float:
    """Posts per second; every one was accepted."""
    left = iter(range(posts))
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, key, left) for _ in range(CLIENTS)))
    return posts / (time.perf_counter() - began)


async def _client(port: int, key: str, left: Iterator[int]) -> None:
    """One connection, as lean as can be: what it costs, both sides pay."""
    body = json.dumps(BODY).encode()
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {LOOPBACK}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        for _ in left:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 202"), answer
            length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
    finally:
        writer.close()
