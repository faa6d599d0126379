"""A file on its way from the request to S3: bounded memory, no temporary file, nothing left on failure.

At most `PARTS_IN_FLIGHT` parts are being stored while the next one fills, so a request holds about
three parts in memory however large its file is. A file smaller than one part is stored whole, and only
once its header has been found good.
"""

import asyncio
import hashlib
from collections.abc import Mapping

import anyio.to_thread

from app.errors import TooLarge
from app.imports.header import HEAD_BYTES, check_text, read_header
from app.imports.lifecycle import StoredFile
from app.settings import Settings
from app.storage import Part, Storage

PARTS_IN_FLIGHT = 2
CONTENT_TYPE = "text/csv"


class Intake:
    """One file. Feed it with `write`, end it with `finish`; on any failure call `discard`.

    With `storage` None it only checks and hashes, for a request that is being repeated.
    """

    def __init__(self, settings: Settings, storage: Storage | None, key: str) -> None:
        self._limit = settings.upload_max_bytes
        self._part_bytes = settings.upload_part_bytes
        self._storage = storage
        self.key = key
        self.size = 0
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[asyncio.Task[Part]] = []
        self._slots = asyncio.Semaphore(PARTS_IN_FLIGHT)
        self._stored = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge, and UnsupportedMediaType for what is no text."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(
                f"The file is over the limit of {self._limit} bytes. Split it and send the parts."
            )
        self._digest.update(data)
        if len(self._head) < HEAD_BYTES:
            first = not self._head
            self._head += data[: HEAD_BYTES - len(self._head)]
            if first:
                check_text(bytes(self._head), more=True)
        if self._storage is not None:
            self._buffer += data
            if len(self._buffer) >= self._part_bytes:
                await self._store_part()

    async def finish(self, filename: str, mapping: Mapping[str, str]) -> StoredFile:
        """Check the header and complete the object. Raises what `read_header` raises."""
        header = read_header(bytes(self._head), mapping)
        if self._storage is not None:
            await self._complete(self._storage)
        return StoredFile(
            object_key=self.key,
            filename=filename,
            size=self.size,
            sha256=self._digest.hexdigest(),
            header=header,
        )

    async def discard(self) -> None:
        """Leave nothing behind: no object, no open multipart upload. Safe to call at any point."""
        await asyncio.gather(*self._parts, return_exceptions=True)
        if self._storage is None:
            return
        if self._upload_id is not None and not self._stored:
            await anyio.to_thread.run_sync(self._storage.abort_multipart, self.key, self._upload_id)
        if self._stored:
            await anyio.to_thread.run_sync(self._storage.delete, self.key)

    async def _store_part(self) -> None:
        """Hand the buffer to a thread; waits while too many parts are on their way."""
        storage = self._storage
        assert storage is not None
        if self._upload_id is None:
            self._upload_id = await anyio.to_thread.run_sync(
                lambda: storage.begin_multipart(self.key, content_type=CONTENT_TYPE)
            )
        await self._slots.acquire()
        for part in self._parts:
            if part.done():
                part.result()
        body, self._buffer = bytes(self._buffer), bytearray()
        number = len(self._parts) + 1
        self._parts.append(asyncio.create_task(self._put(storage, number, body)))

    async def _put(self, storage: Storage, number: int, body: bytes) -> Part:
        assert self._upload_id is not None
        try:
            return await anyio.to_thread.run_sync(
                storage.put_part, self.key, self._upload_id, number, body
            )
        finally:
            self._slots.release()

    async def _complete(self, storage: Storage) -> None:
        if self._upload_id is None:
            self._stored = True  # from here on `discard` deletes it
            body = bytes(self._buffer)
            await anyio.to_thread.run_sync(
                lambda: storage.put(self.key, body, content_type=CONTENT_TYPE)
            )
            return
        if self._buffer:
            await self._store_part()
        parts = list(await asyncio.gather(*self._parts))
        await anyio.to_thread.run_sync(storage.complete_multipart, self.key, self._upload_id, parts)
        self._stored = True
