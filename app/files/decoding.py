"""Has a file decoded in the sandbox, and says what came of it.

The file goes over as an open file without a name, and the reply comes back as one: a worker that is killed leaves
nothing behind, and the sandbox ends with it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from pydantic import TypeAdapter

from app.errors import Unprocessable
from app.files.protocol import (
    LENGTH_BYTES,
    DocumentRequest,
    Limits,
    PictureRequest,
    Reply,
    write_request,
)
from app.settings import MIB, Settings

WALL_SECONDS = 150.0
CPU_SECONDS = 120
REPLY_BYTES = 256 * MIB
MAX_CHARS = 5_000_000
PIXEL_BYTES = 12
"""Of each pixel, at its worst: decoded, its colours converted, and made smaller, at the same time."""
BASE_BYTES = 640 * MIB
"""Address space that the libraries take without a picture; much of it is never touched."""
DOCUMENT_BYTES = 1024 * MIB
_KILLED_BY_CPU = -24
_KILLED = -9
_REPLY = TypeAdapter(Reply)
_TOO_SLOW = Unprocessable(
    "Decoding the file takes more time than it may.", code="too_slow_to_decode"
)


class SandboxLost(Exception):
    """The process was killed by somebody else: for want of memory on this machine, say. Worth another try."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The reply, and the file in which its parts follow, in their order."""

    reply: Reply
    parts: BinaryIO


def picture_limits(settings: Settings) -> Limits:
    """For a picture of as many pixels as are taken."""
    return Limits(
        memory_bytes=BASE_BYTES + settings.file_max_pixels * PIXEL_BYTES,
        cpu_seconds=CPU_SECONDS,
        reply_bytes=REPLY_BYTES,
        max_pixels=settings.file_max_pixels,
        max_chars=0,
    )


def document_limits() -> Limits:
    """For any document."""
    return Limits(
        memory_bytes=DOCUMENT_BYTES,
        cpu_seconds=CPU_SECONDS,
        reply_bytes=REPLY_BYTES,
        max_pixels=0,
        max_chars=MAX_CHARS,
    )


@contextmanager
def decoded(source: IO[bytes], request: PictureRequest | DocumentRequest) -> Iterator[Decoded]:
    """Decode `source`, a real file. Raises Unprocessable with the reason for a file that can't be, and
    SandboxLost.
    """
    source.seek(0)
    with tempfile.TemporaryFile() as out:
        _run(source, out, write_request(request))
        out.seek(0)
        try:
            reply = _read_reply(cast("BinaryIO", out))
        except ValueError:
            raise _broken() from None
        if reply.code is not None:
            raise Unprocessable(reply.message, code=reply.code)
        yield Decoded(reply, cast("BinaryIO", out))


def _run(source: IO[bytes], out: IO[bytes], request: str) -> None:
    """Raises Unprocessable for a decoder that breaks or takes too long."""
    command = [sys.executable, "-I", "-m", "app.files.sandbox", request]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command,
            stdin=source,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=WALL_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise _TOO_SLOW from None
    if done.returncode == _KILLED_BY_CPU:
        raise _TOO_SLOW
    if done.returncode == _KILLED:
        raise SandboxLost("The process that decodes was killed.")
    if done.returncode:
        raise _broken()


def _read_reply(source: BinaryIO) -> Reply:
    """The source is then at the first part. Raises ValueError for anything but a reply."""
    length = int.from_bytes(source.read(LENGTH_BYTES), "big")
    return _REPLY.validate_json(source.read(min(length, MIB)))


def _environment() -> dict[str, str]:
    """Nothing of ours: no password, no address. One arena, so that the limit on memory is about memory."""
    return {
        "PATH": os.defpath,
        "MALLOC_ARENA_MAX": "1",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }


def _broken() -> Unprocessable:
    return Unprocessable(
        "The decoder broke on this file. Save it anew and send that.", code="undecodable"
    )
