"""A web process that is told to stop says so, serves on for a while, finishes what is open, and exits 0."""

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from sqlalchemy import text

from app.main import create_app
from app.serving import Server
from tests.support.fleet import Fleet, fleet_on
from tests.support.servers import Servers, wait_for

HOST = "127.0.0.1"
DRAIN_SECONDS = 2.0
BODY = b"email\n" + b"".join(b"person.%d@example.com\n" % n for n in range(1000))


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("web")
    with fleet_on(servers, folder, web_drain_seconds=DRAIN_SECONDS) as made:
        yield made


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


@pytest.fixture
def web(fleet: Fleet, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = fleet.start(fleet.product().web("web", port))
    yield process
    process.kill()


def begin_upload(
    fleet: Fleet, port: int, *, length: int = len(BODY), sent: bytes = BODY[:5000]
) -> http.client.HTTPConnection:
    """A request whose body is partly sent, and being read."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.putrequest("POST", "/v1/imports?filename=slow.csv")
    connection.putheader("Authorization", f"Bearer {fleet.tenant.key}")
    connection.putheader("Content-Type", "text/csv")
    connection.putheader("Content-Length", str(length))
    connection.endheaders(sent)
    return connection


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None]:
    """The status, and what is said about the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["connection"]


def refuses(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_drains(fleet: Fleet, web: subprocess.Popen[bytes], port: int) -> None:
    """Before, during and after: one kept connection, one upload that takes longer than the drain."""
    with (
        closing(http.client.HTTPConnection(HOST, port, timeout=30)) as kept,
        closing(begin_upload(fleet, port)) as upload,
    ):
        drain(web, port, kept)

        upload.send(BODY[5000:])
        answer = upload.getresponse()
        assert (answer.status, answer.headers["connection"]) == (202, "close")
    assert web.wait(10) == 0
    assert fleet.number("SELECT count(*) FROM imports WHERE filename = 'slow.csv'") == 1


def drain(web: subprocess.Popen[bytes], port: int, kept: http.client.HTTPConnection) -> None:
    """Tell it to stop, and watch it until it accepts no more."""
    assert get(kept, "/healthz") == (200, None)
    began = time.monotonic()
    web.terminate()
    ready = httpx.get(f"http://{HOST}:{port}/readyz")
    while ready.status_code == 200 and time.monotonic() < began + 1:
        ready = httpx.get(f"http://{HOST}:{port}/readyz")

    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert ready.headers["connection"] == "close"
    assert int(ready.headers["retry-after"]) > 0
    assert get(kept, "/healthz") == (200, "close")  # a connection from before, for the last time
    assert not refuses(port)
    wait_for(lambda: refuses(port), what="the end of the drain")
    assert time.monotonic() - began >= DRAIN_SECONDS
    assert web.poll() is None


def test_a_second_signal_ends_it_at_once(
    fleet: Fleet, web: subprocess.Popen[bytes], port: int
) -> None:
    with closing(begin_upload(fleet, port)):
        web.terminate()
        wait_for(lambda: httpx.get(f"http://{HOST}:{port}/readyz").status_code == 503)
        web.terminate()
        assert web.wait(10) == -signal.SIGTERM  # with one signal, the upload would keep it up


def test_what_does_not_end_in_its_time_is_ended(fleet: Fleet, port: int) -> None:
    """In this process, so that its time can be short. Of the upload, some parts are stored by then."""
    app = create_app(fleet.settings)
    storage = app.state.storage
    server = Server(app, host=HOST, port=port, drain_seconds=0, grace_seconds=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, what="the web server")
    sent = BODY + b"x@example.com\n" * (fleet.settings.upload_part_bytes // 10)
    with closing(begin_upload(fleet, port, length=2 * len(sent), sent=sent)):
        wait_for(storage.open_uploads, what="the first part")
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
    assert storage.open_uploads() == []


def test_posts_in_line_are_recorded_before_it_ends(
    fleet: Fleet, web: subprocess.Popen[bytes], port: int
) -> None:
    """One transaction is held up; behind it others wait in line when the process is told to stop."""
    before = fleet.number("SELECT count(*) FROM jobs WHERE kind = 'report.daily'")
    wanted = {"kind": "report.daily", "payload": {"day": "2026-01-31"}}
    bearer = {"Authorization": f"Bearer {fleet.tenant.key}"}

    def send(_: int) -> int:
        url = f"http://{HOST}:{port}/v1/jobs"
        return httpx.post(url, json=wanted, headers=bearer, timeout=30).status_code

    with ThreadPoolExecutor(5) as pool, fleet.engine.connect() as tx:
        tx.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        first = pool.submit(send, 0)
        held_up = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'millrace-web' AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: fleet.number(held_up), what="the first post")
        others = [pool.submit(send, number) for number in range(1, 5)]
        with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as kept:
            drain(web, port, kept)
        assert fleet.number(held_up) == 1, "the others are in line, and in no transaction"
        tx.rollback()
        assert [each.result(20) for each in (first, *others)] == [202] * 5
    assert web.wait(10) == 0
    after = fleet.number("SELECT count(*) FROM jobs WHERE kind = 'report.daily'")
    assert after == before + 5
