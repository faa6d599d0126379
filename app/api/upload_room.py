"""How many files are on their way through one web process: what it holds of them is memory."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.errors import Overloaded, TooManyRequests

RETRY_SECONDS = 5


class UploadRoom:
    """Places for so many files, of which a tenant has half at most. Used from the event loop alone.

    A file holds the part that it fills; `parts` are as many again, of all files, on their way into the store.
    """

    def __init__(self, files: int) -> None:
        self._files = files
        self._of_one = max(1, files // 2)
        self._taken: Counter[UUID] = Counter()
        self.parts = asyncio.Semaphore(files)

    @contextmanager
    def place(self, tenant_id: UUID) -> Iterator[None]:
        """Hold one for a tenant's file. Raises TooManyRequests (`too_many_uploads`) and Overloaded."""
        self._check(tenant_id)
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]

    def _check(self, tenant_id: UUID) -> None:
        if self._taken[tenant_id] >= self._of_one:
            raise TooManyRequests(
                f"{self._of_one} of your files are being uploaded just now, and no more are taken at the same "
                "time. Send this one when one of them is done, or use a direct upload: POST /v1/uploads.",
                code="too_many_uploads",
                retry_after=RETRY_SECONDS,
            )
        if self._taken.total() >= self._files:
            raise Overloaded(
                "More files are being uploaded just now than there is room for. Try again in a moment.",
                retry_after=RETRY_SECONDS,
            )
