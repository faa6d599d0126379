"""A file on its way from the request to S3: bounded memory, no temporary file, nothing left on failure.

At most `PARTS_IN_FLIGHT` parts are being stored while the next one fills, and of all files as many as there is
room for, so what a process holds has a bound however large the files are. A file smaller than one part stays in memory until it has
been looked at, and is stored then.
"""

import asyncio
import hashlib
import io
from collections.abc import Callable
from typing import BinaryIO

import anyio.to_thread

from app.object_reader import ObjectReader
from app.storage import Part, Storage
from app.tabular.detect import HEAD_BYTES

PARTS_IN_FLIGHT = 3
CONTENT_TYPE = "application/octet-stream"
_FIRST_BYTES = 4096


class Intake:
    """One file. Feed it with `write`, end it with `finish` and `store`; on any failure call `discard`.

    With `storage` None it only hashes, for a request that is being repeated. `room` is what all files share for
    parts on their way into the store. `check_size` gets to see how
    much has come, `refuse_early` the first bytes: both may raise.
    """

    def __init__(
        self,
        storage: Storage | None,
        key: str,
        *,
        room: asyncio.Semaphore,
        part_bytes: int,
        check_size: Callable[[int], None],
        refuse_early: Callable[[bytes], None],
    ) -> None:
        self._check_size = check_size
        self._refuse_early = refuse_early
        self._part_bytes = part_bytes
        self._storage = storage
        self.key = key
        self.size = 0
        self._looked_at = False
        self._head = b""
        self._plain = True
        self._digest = hashlib.sha256()
        self._blocks: list[bytes] = []
        self._held = 0
        self._upload_id: str | None = None
        self._parts: list[asyncio.Task[Part]] = []
        self._slots = asyncio.Semaphore(PARTS_IN_FLIGHT)
        self._room = room
        self._ending: asyncio.Task[None] | None = None
        self._stored = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge, and `refuse_early`'s errors for what is clearly of no use."""
        self.size += len(data)
        self._check_size(self.size)
        self._digest.update(data)  # here, where the bytes are still in the processor's cache
        self._plain = self._plain and data.isascii() and b"\0" not in data and b"\x1b" not in data
        if len(self._head) < HEAD_BYTES:
            self._head += data
        self._blocks.append(data)
        self._held += len(data)
        if not self._looked_at and self._held >= _FIRST_BYTES:
            self._looked_at = True
            self._refuse_early(self._head[:_FIRST_BYTES])
        if self._held >= self._part_bytes:
            await self._part_is_full()

    async def finish(self) -> str:
        """The file's SHA-256 in hex. A large one goes on into the store: `store` waits for that."""
        if self._upload_id is not None and self._storage is not None:
            if self._held:
                await self._part_is_full()
            self._ending = asyncio.create_task(self._complete(self._storage, self._upload_id))
        return self._digest.hexdigest()

    def open(self) -> BinaryIO:
        """The file, once it is finished, to be looked at in a thread. What isn't in memory any more is read
        from the store, as soon as it is all there.
        """
        storage, ending = self._storage, self._ending
        if storage is None or ending is None:
            return io.BytesIO(b"".join(self._blocks))

        def fetch(start: int, end: int) -> bytes:
            asyncio.run_coroutine_threadsafe(self.store(), ending.get_loop()).result()
            return storage.read_range(self.key, start, end)

        return io.BufferedReader(ObjectReader(fetch, self.size, head=self._head))

    @property
    def encoding(self) -> str | None:
        """What any byte that came can be read as, if that is beyond doubt: there is nothing but ASCII."""
        return "utf-8" if self._plain else None

    async def store(self) -> None:
        """What isn't in the store yet goes there; returns when all of it is."""
        storage = self._storage
        if self._ending is not None:
            await asyncio.shield(self._ending)
        if storage is None or self._stored:
            return
        self._stored = True  # or may be, from here on
        body = b"".join(self._blocks)
        await anyio.to_thread.run_sync(
            lambda: storage.put(self.key, body, content_type=CONTENT_TYPE)
        )

    async def discard(self) -> None:
        """Leave nothing behind: no object, no open multipart upload. Safe to call at any point."""
        ending = [] if self._ending is None else [self._ending]
        await asyncio.gather(*self._parts, *ending, return_exceptions=True)
        if self._storage is None:
            return
        if self._upload_id is not None:
            await anyio.to_thread.run_sync(self._storage.abort_multipart, self.key, self._upload_id)
        if self._stored:
            await anyio.to_thread.run_sync(self._storage.delete, self.key)

    async def _part_is_full(self) -> None:
        """Hand what is held to threads; waits while too many parts are on their way."""
        storage, body = self._storage, b"".join(self._blocks)
        self._blocks, self._held = [], 0
        if storage is None:
            return
        if self._upload_id is None:
            self._upload_id = await anyio.to_thread.run_sync(
                lambda: storage.begin_multipart(self.key, content_type=CONTENT_TYPE)
            )
        await self._slots.acquire()
        for part in self._parts:
            if part.done():
                part.result()
        await self._room.acquire()
        number = len(self._parts) + 1
        sending = anyio.to_thread.run_sync(
            storage.put_part, self.key, self._upload_id, number, body
        )
        self._parts.append(asyncio.create_task(sending))
        self._parts[-1].add_done_callback(self._make_room)

    def _make_room(self, _stored: asyncio.Task[Part]) -> None:
        self._room.release()
        self._slots.release()

    async def _complete(self, storage: Storage, upload_id: str) -> None:
        parts = list(await asyncio.gather(*self._parts))
        self._stored = True  # or may be, if the answer is lost
        await anyio.to_thread.run_sync(storage.complete_multipart, self.key, upload_id, parts)
