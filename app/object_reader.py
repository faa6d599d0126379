"""A stored object as a file: read-only, seekable, in bounded memory; and a part of one, with what follows it."""

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST_BYTES = 128 * 1024
MOST_BYTES = 4 * 1024 * 1024

Fetch = Callable[[int, int], bytes]
"""Bytes `start` (included) to `end` (excluded), all of them; raises what the store raises."""


class ObjectReader(io.RawIOBase):
    """Reads by blocks, each one `fetch`: a small one after a jump, twice as much each time that it is read
    on in order, and with blocks of some size the next is on its way while one is read.

    Holds at most two blocks of `most_bytes`. `head` is what is known of the beginning already. Not for use by several threads. Raises what `fetch` raises.
    """

    def __init__(
        self,
        fetch: Fetch,
        size: int,
        *,
        first_bytes: int = FIRST_BYTES,
        most_bytes: int = MOST_BYTES,
        head: bytes = b"",
    ) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._first_bytes = first_bytes
        self._most_bytes = most_bytes
        self._position = 0
        self._start = 0
        self._stride = first_bytes
        self._block = memoryview(head)
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As every file's; costs nothing until the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Up to the end of a block; 0 at the end of the object."""
        self._checkClosed()
        if self._position >= self._size:
            return 0
        target = memoryview(buffer).cast("B")
        if not self._start <= self._position < self._start + len(self._block):
            self._turn_to(self._position, len(target))
        offset = self._position - self._start
        count = min(len(target), len(self._block) - offset)
        target[:count] = self._block[offset : offset + count]
        self._position += count
        return count

    def close(self) -> None:
        """Let go of the blocks; a fetch that is under way ends by itself."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread, self._ahead, self._block = None, None, memoryview(b"")
        super().close()

    def _turn_to(self, start: int, wanted: int) -> None:
        (expected, coming), self._ahead = self._ahead or (None, None), None
        in_order = len(self._block) > 0 and start == self._start + len(self._block)
        self._stride = min(self._stride * 2, self._most_bytes) if in_order else self._first_bytes
        self._block = memoryview(b"")
        data = (
            coming.result()
            if coming and expected == start
            else self._load(start, max(self._stride, wanted))
        )
        self._block, self._start = memoryview(data), start
        behind = start + len(data)
        if self._stride == self._most_bytes and behind < self._size:
            self._ahead = behind, self._reader().submit(self._load, behind, self._stride)

    def _load(self, start: int, count: int) -> bytes:
        end = min(start + min(count, self._most_bytes), self._size)
        data = self._fetch(start, end)
        if len(data) != end - start:
            raise OSError(f"expected {end - start} bytes at {start}, got {len(data)}")
        return data

    def _reader(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        return self._thread


class Onward:
    """A stored object from `start` on, read in order: up to `end` by one fetch, and what follows, to its `size`, only
    when it is asked for. Raises what `fetch` raises.
    """

    def __init__(self, fetch: Fetch, start: int, end: int, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._next = min(end, size)
        self._piece = io.BytesIO(fetch(start, self._next))

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, often fewer; none at the end of the object."""
        found = self._piece.read(size)
        if found or self._next >= self._size:
            return found
        start, self._next = self._next, min(self._next + max(size, FIRST_BYTES), self._size)
        self._piece = io.BytesIO(self._fetch(start, self._next))
        return self._piece.read(size)
