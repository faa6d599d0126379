"""The scanner's client against a real clamd: verdicts, limits, and everything that is no verdict."""

import socket
import threading
from collections.abc import Iterator

import pytest

from app.errors import ScannerAway, Unprocessable
from app.scanning.clamd import Clamd
from infra.local.ports import LOOPBACK
from tests.support.clamd import (
    BYTES,
    EICAR,
    FILE_MAX_BYTES,
    STREAM_MAX_BYTES,
    VIRUS,
    ClamdServer,
)

FOUND = f"{VIRUS}.UNOFFICIAL"


@pytest.fixture(params=["tcp", "unix"])
def client(request: pytest.FixtureRequest, clamd: ClamdServer) -> Clamd:
    return Clamd(clamd.url if request.param == "tcp" else clamd.socket_url, seconds=20)


def peer(answer: bytes | None) -> Iterator[str]:
    """Somebody at a port who is no clamd: takes what comes and answers that, or nothing at all."""
    ended = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            if answer is None:
                ended.wait(10)
                return
            while not connection.recv(65536).endswith(b"\0\0\0\0"):
                pass
            connection.sendall(answer)

    with socket.create_server((LOOPBACK, 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield f"tcp://{LOOPBACK}:{server.getsockname()[1]}"
        ended.set()
        thread.join(10)


def test_a_clean_file_and_an_empty_one(client: Clamd) -> None:
    assert client.scan([b"email\n", b"a@example.com\n"]).signature is None
    assert client.scan([]).signature is None


@pytest.mark.parametrize(
    "blocks",
    [[b"x" * 1000 + BYTES], [b"z" * 600_000 + BYTES[:7], BYTES[7:] + b"after"]],
    ids=["inside", "across blocks"],
)
def test_what_has_a_signature_is_found(client: Clamd, blocks: list[bytes]) -> None:
    assert client.scan(blocks).signature == FOUND


def test_the_test_file_that_every_scanner_knows_is_found(client: Clamd) -> None:
    assert client.scan([EICAR]).signature == "Eicar.Test.UNOFFICIAL"


@pytest.mark.parametrize(
    "size", [FILE_MAX_BYTES + 4096, STREAM_MAX_BYTES + 1, 4 * STREAM_MAX_BYTES]
)
def test_a_file_beyond_its_limits_is_never_called_clean(client: Clamd, size: int) -> None:
    with pytest.raises(Unprocessable, match="in smaller parts") as refused:
        client.scan([b"a,b\n" * 16384] * (size // 65536 + 1))
    assert refused.value.code == "too_large_to_scan"


def test_nobody_there() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ScannerAway):
        Clamd(f"tcp://{LOOPBACK}:{port}", seconds=1).scan([b"x"])
    with pytest.raises(ScannerAway):
        Clamd("unix:///nowhere/clamd.sock", seconds=1).scan([b"x"])


@pytest.mark.parametrize(
    "answer",
    [b"", b"stream: ", b"stream: Can't allocate memory ERROR\0", b"HTTP/1.1 200 OK\r\n\r\n", None],
)
def test_no_verdict_is_not_taken_for_one(answer: bytes | None) -> None:
    for url in peer(answer):
        with pytest.raises(ScannerAway):
            Clamd(url, seconds=0.3).scan([b"x"])


def test_what_stops_the_file_stops_the_scan(client: Clamd) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"x"
        raise KeyError("cancelled")

    with pytest.raises(KeyError):
        client.scan(blocks())


@pytest.mark.parametrize("url", ["http://clamd:3310", "unix:", "tcp://", "clamd"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="tcp://host:port"):
        Clamd(url, seconds=1)
