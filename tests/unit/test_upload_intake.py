"""What a process holds of the files that are on their way."""

import asyncio
import threading
from typing import cast

from app.api.intake import PARTS_IN_FLIGHT, Intake
from app.storage import Part, Storage

PART = 1000
ROOM = PARTS_IN_FLIGHT + 1


class SlowStorage:
    """Takes parts when it is let, and counts those that wait."""

    def __init__(self) -> None:
        self.let, self.full = threading.Semaphore(0), threading.Event()
        self._lock = threading.Lock()
        self.waiting = self.most = 0

    def begin_multipart(self, key: str, *, content_type: str) -> str:
        return key

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            if self.waiting == ROOM:
                self.full.set()
        self.let.acquire()
        with self._lock:
            self.waiting -= 1
        return Part(number, "etag")

    def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))


async def send(storage: SlowStorage, room: asyncio.Semaphore, key: str, parts: int) -> None:
    intake = Intake(
        cast(Storage, storage),
        key,
        room=room,
        part_bytes=PART,
        check_size=lambda _: None,
        refuse_early=lambda _: None,
    )
    for _ in range(parts):
        await intake.write(b"x" * PART)
    await intake.finish()
    await intake.store()


def test_parts_on_their_way_have_a_bound_over_all_files() -> None:
    storage = SlowStorage()

    async def all_of_them() -> None:
        room = asyncio.Semaphore(ROOM)
        files = [asyncio.create_task(send(storage, room, f"f{n}", 5)) for n in range(4)]
        assert await asyncio.to_thread(storage.full.wait, 20)
        storage.let.release(20)
        await asyncio.gather(*files)

    asyncio.run(all_of_them())
    assert storage.most == ROOM
