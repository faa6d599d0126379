"""A file that is written into the object store as it comes: a stream on this side, parts on the other."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from app.storage import Part, Storage

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
"""So many are on their way while the next one is filled: three parts are in memory at most."""
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of an object's bytes; `sha256` in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there; `sha256` in hex. One whose bytes nobody has seen one after the other has
    none, and `pieces` instead.
    """

    key: str
    bytes: int
    sha256: str | None
    pieces: Sequence[Piece] = ()


class ObjectWriter:
    """Looks like a file that can only be written to. Memory is bounded whatever the size.

    A file that fits into one part is put whole. Otherwise `begun(upload_id)` is told of the multipart upload
    before its first part goes, so that somebody can abort it if this process doesn't live to do so. Leaving
    the block by an exception aborts it.
    """

    closed = False

    def __init__(
        self,
        storage: Storage,
        key: str,
        *,
        content_type: str,
        begun: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._key = key
        self._content_type = content_type
        self._begun = begun
        self._digest = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[Future[Part]] = []
        self._pool = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="export-part")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
        self._pool.shutdown()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take the next bytes; waits while too many parts are on their way. Raises what the store raises."""
        size = len(data)
        self._digest.update(data)
        self._buffer += data
        self._size += size
        while len(self._buffer) >= self._part_bytes():
            self._send(self._part_bytes())
        return size

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing to do: parts have their size."""

    def writable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is not."""
        return False

    def close(self) -> None:
        """For libraries that close what they are given: the end is `finish`."""

    def finish(self) -> Stored:
        """All of it is in the store when this returns."""
        if self._upload_id is None:
            self._storage.put(self._key, bytes(self._buffer), content_type=self._content_type)
        else:
            if self._buffer:
                self._send(len(self._buffer))
            parts = [part.result() for part in self._parts]
            self._storage.complete_multipart(self._key, self._upload_id, parts)
        self._buffer.clear()
        return Stored(self._key, self._size, self._digest.hexdigest())

    def abort(self) -> None:
        """Leave nothing: parts that are on their way are waited for."""
        for part in self._parts:
            part.cancel()
        self._pool.shutdown()
        if self._upload_id is not None:
            self._storage.abort_multipart(self._key, self._upload_id)

    def _part_bytes(self) -> int:
        """Parts grow, so that no number of them limits the file: 8 MiB each, from 8 GiB on 16, and so on."""
        return PART_BYTES << (len(self._parts) // 1000)

    def _send(self, size: int) -> None:
        if self._upload_id is None:
            upload_id = self._storage.begin_multipart(self._key, content_type=self._content_type)
            self._upload_id = upload_id
            self._begun(upload_id)
        if len(self._parts) >= PARTS_AT_ONCE:
            self._parts[-PARTS_AT_ONCE].result()
        with memoryview(self._buffer) as view:
            body = bytes(view[:size])
        del self._buffer[:size]
        number = len(self._parts) + 1
        self._parts.append(
            self._pool.submit(self._storage.put_part, self._key, self._upload_id, number, body)
        )
