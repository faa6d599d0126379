"""`python -m tests.chaos.proxy CONFIG`: the network between the processes and the servers, in one process.

One link is one listening port with one target. What a link does to its traffic is told through a control
port, one JSON object a line: {"link": "worker-postgres", "mode": "cut"}; the answer says how many
connections were open. The modes:

pass                        bytes go through
cut                         open connections are reset, new ones refused
delay {"seconds"}           every block is held for that long; the order is kept
half_open {"direction"}     up, down or both: what is sent that way vanishes, and nothing says so
silent                      as half_open, and the client's kernel hears nothing either: no packet of its is
                            acknowledged, not even that of a new connection (Linux)
http_500                    the server isn't asked: every HTTP request is answered with an error
slow {"bytes_per_second"}   a thin line

A network that lost bytes can't go on as if nothing had been: connections that did are reset when the
half-open time ends, as the kernel's keepalive or a firewall's reset would.
"""

import asyncio
import ctypes
import json
import os
import socket
import struct
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

LOOPBACK = "127.0.0.1"
BLOCK_BYTES = 64 * 1024
UP, DOWN = "up", "down"
REFUSAL = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>chaos</Message></Error>"
HTTP_500 = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSAL), REFUSAL)
)
_GONE = (OSError, RuntimeError)
"""What asyncio and uvloop raise for a connection that has ended; RuntimeError if we closed it ourselves."""
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_ACCEPT_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)
"""A packet filter of one instruction: return 0, which drops the packet before TCP sees it."""
_LINGER_NOTHING = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Mode:
    """What happens on a link; the figures belong to the modes that are named after them."""

    mode: str = "pass"
    seconds: float = 0.0
    direction: str = "both"
    bytes_per_second: float = 1e9

    def swallows(self, direction: str) -> bool:
        if self.mode == "silent":
            return True
        return self.mode == "half_open" and self.direction in {direction, "both"}


@dataclass(eq=False, slots=True)
class Pipe:
    """One connection through a link."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lost_bytes: bool = False
    broken: bool = False
    """It was reset, perhaps before its other half was there."""

    def deafen(self, deaf: bool) -> None:
        raw = self.client.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            _deafen(raw.fileno(), deaf)

    def reset(self) -> None:
        self.broken = True
        for writer in (self.client, self.server):
            if writer is not None:
                _reset(writer)


@dataclass(eq=False, slots=True)
class Link:
    """One listening port in front of one server."""

    target: int
    mode: Mode = field(default_factory=Mode)
    pipes: set[Pipe] = field(default_factory=set)
    doors: list[int] = field(default_factory=list)
    """The listening sockets' file numbers."""

    def switch(self, mode: Mode) -> int:
        """Begin a mode; returns how many connections were open."""
        was, self.mode = self.mode, mode
        hit = len(self.pipes)
        deaf = mode.mode == "silent"
        if deaf or was.mode == "silent":
            for door in self.doors:
                _deafen(door, deaf)
        for pipe in list(self.pipes):
            if deaf or was.mode == "silent":
                pipe.deafen(deaf)
            broken = was.mode in {"half_open", "silent"} and pipe.lost_bytes
            if broken or mode.mode in {"cut", "http_500"}:
                pipe.reset()
        return hit

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = Pipe(writer)
        self.pipes.add(pipe)
        try:
            if self.mode.mode == "cut":
                pipe.reset()
            elif self.mode.mode == "http_500":
                await _refuse_http(reader, writer)
            else:
                await self._join(pipe, reader)
        except (*_GONE, asyncio.IncompleteReadError):
            pipe.reset()
        finally:
            self.pipes.discard(pipe)
            for end in (pipe.client, pipe.server):
                if end is not None:
                    end.close()

    async def _join(self, pipe: Pipe, reader: asyncio.StreamReader) -> None:
        answers, pipe.server = await asyncio.open_connection(LOOPBACK, self.target)
        if pipe.broken:
            raise ConnectionResetError
        await asyncio.gather(
            self._pump(pipe, reader, pipe.server, UP),
            self._pump(pipe, answers, pipe.client, DOWN),
        )

    async def _pump(
        self, pipe: Pipe, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: str
    ) -> None:
        try:
            while block := await source.read(BLOCK_BYTES):
                await self._hold(len(block))
                if pipe.lost_bytes or self.mode.swallows(direction):
                    pipe.lost_bytes = True
                    continue
                sink.write(block)
                await sink.drain()
            if pipe.lost_bytes or self.mode.swallows(direction):
                pipe.lost_bytes = True  # the end of the stream is lost as well
            elif sink.can_write_eof():
                sink.write_eof()
        except _GONE:
            pipe.reset()

    async def _hold(self, length: int) -> None:
        if self.mode.mode == "delay":
            await asyncio.sleep(self.mode.seconds)
        elif self.mode.mode == "slow":
            await asyncio.sleep(length / self.mode.bytes_per_second)


def _deafen(number: int, deaf: bool) -> None:
    """The filter is the socket's and not the file's: a copy of its number does."""
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as same:
        if deaf:
            program = struct.pack("HP", 1, ctypes.addressof(_ACCEPT_NOTHING))
            same.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        else:
            same.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST, as a router that forgot the connection does."""
    with suppress(OSError, ValueError, AttributeError):  # uvloop's words for a socket that is gone
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
    writer.transport.abort()


async def _refuse_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HTTP_500)
    await writer.drain()


class Control:
    """The port that takes the orders."""

    def __init__(self, links: dict[str, Link]) -> None:
        self._links = links

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                writer.write(json.dumps(self._obey(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()

    def _obey(self, order: dict[str, Any]) -> dict[str, int]:
        link = self._links[order.pop("link")]
        return {"connections": link.switch(Mode(**order))}


async def _serve(configuration: dict[str, Any]) -> None:
    links = {name: Link(target) for name, (_, target) in configuration["links"].items()}
    starts: dict[str, Coroutine[Any, Any, asyncio.Server]] = {
        name: asyncio.start_server(links[name].accept, LOOPBACK, port)
        for name, (port, _) in configuration["links"].items()
    }
    for name, start in starts.items():
        links[name].doors = [door.fileno() for door in (await start).sockets]
    # Last: once it answers, everything listens.
    control = await asyncio.start_server(Control(links).serve, LOOPBACK, configuration["control"])
    await control.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(json.loads(Path(sys.argv[1]).read_text())))
