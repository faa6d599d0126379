"""The campaign's network does what its faults say: a fault that does nothing would prove nothing."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK, accepts, choose_ports
from tests.chaos.links import Links
from tests.support.servers import wait_for

SOON = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """A proxy in front of a server that the test plays itself."""

    links: Links
    port: int
    server: socket.socket

    def call(self) -> socket.socket:
        client = socket.create_connection((LOOPBACK, self.port), timeout=5)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection through the proxy."""
        client = self.call()
        other, _ = self.server.accept()
        other.settimeout(5)
        return client, other


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    ports = choose_ports(("control", "line"), tmp_path / "ports.json", seed=str(tmp_path))
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(5)
        links = {"line": [ports["line"], server.getsockname()[1]]}
        plan = tmp_path / "proxy.json"
        plan.write_text(json.dumps({"control": ports["control"], "links": links}))
        command = [sys.executable, "-m", "tests.chaos.proxy", str(plan)]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_for(lambda: accepts(ports["control"]), what="the proxy")
            yield Line(Links(ports["control"]), ports["line"], server)
        finally:
            process.kill()
            process.wait()


def test_bytes_and_their_end_go_through_both_ways(line: Line) -> None:
    client, server = line.connect()
    with client, server:
        client.sendall(b"ping")
        assert server.recv(9) == b"ping"
        server.sendall(b"pong")
        assert client.recv(9) == b"pong"
        client.shutdown(socket.SHUT_WR)
        assert server.recv(9) == b""
        server.sendall(b"bye")
        assert client.recv(9) == b"bye"


def test_a_cut_line_resets_what_is_open_and_refuses_what_is_new(line: Line) -> None:
    client, server = line.connect()
    with client, server:
        with line.links.disturbed("line", "cut") as hit:
            assert hit == 1
            for end in (client, server):
                with pytest.raises(ConnectionResetError):
                    end.recv(9)
            # The reset may arrive before connect has returned.
            with pytest.raises(ConnectionResetError), line.call() as refused:
                refused.recv(9)
        again, other = line.connect()
        again.close()
        other.close()


def test_a_cut_line_resets_a_connection_that_was_being_made(line: Line) -> None:
    line.server.listen(0)  # one connection may wait; the SYN of the next is sent again after 1 s
    first, other = line.connect()
    with first, other, line.call() as waits, line.call() as late:
        wait_for(lambda: line.links.set("line") == 3, what="the proxy has taken all three")
        with line.links.disturbed("line", "cut"):
            pass
        for client in (waits, late):
            with pytest.raises(ConnectionResetError):
                client.recv(9)
        for _ in range(2):
            server, _ = line.server.accept()
            server.settimeout(5)
            with server, pytest.raises(ConnectionResetError):
                server.recv(9)


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_a_half_open_line_swallows_in_silence_and_breaks_when_it_is_over(
    line: Line, direction: str
) -> None:
    client, server = line.connect()
    ends = {"up": (client, server), "down": (server, client), "both": (client, server)}
    sender, receiver = ends[direction]
    with client, server:
        with line.links.disturbed("line", "half_open", direction=direction):
            sender.sendall(b"lost")
            receiver.settimeout(SOON)
            with pytest.raises(TimeoutError):
                receiver.recv(9)
        for end in (sender, receiver):
            end.settimeout(5)
            with pytest.raises(ConnectionResetError):
                end.recv(9)


def test_a_half_open_line_passes_what_goes_the_other_way(line: Line) -> None:
    client, server = line.connect()
    with client, server, line.links.disturbed("line", "half_open", direction="up"):
        server.sendall(b"pong")
        assert client.recv(9) == b"pong"


def test_a_delayed_line_is_late_and_in_order(line: Line) -> None:
    client, server = line.connect()
    with client, server, line.links.disturbed("line", "delay", seconds=SOON):
        began = time.monotonic()
        client.sendall(b"ping")
        assert server.recv(9) == b"ping"
        assert time.monotonic() - began >= SOON


def test_a_store_in_trouble_answers_500(line: Line) -> None:
    with line.links.disturbed("line", "http_500"), line.call() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: s3\r\n\r\n")
        assert client.recv(999).startswith(b"HTTP/1.1 500 ")
