"""What a process knows of the object store: whoever finds it away leaves it alone until it answers.

A store that hangs holds each request for a minute, several times over. So a child that has met that once asks first, for
a few seconds, before it gives the store to the next job.
"""

import time
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from app.errors import StoreAway
from app.outages import is_store_away
from app.storage import Storage

FRESH_SECONDS = 1.0
"""For so long an answer is believed."""


class StoreWatch:
    """Of one process. `ask` is a cheap question, with little patience: it raises botocore's errors."""

    def __init__(
        self,
        storage: Storage,
        ask: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._ask, self._clock = storage, ask, clock
        self._away_at: float | None = None

    def use(self) -> Storage:
        """The store. Raises StoreAway where it was found away, and still is."""
        if self._away_at is not None and self.is_away():
            raise StoreAway("The object store is away. The job waits for it.")
        return self._storage

    def is_away(self) -> bool:
        """Ask. One that answers that it has no such bucket is there: it is for the job to fail of it."""
        if self._away_at is not None and self._clock() - self._away_at < FRESH_SECONDS:
            return True
        try:
            self._ask()
        except (BotoCoreError, ClientError) as error:
            self._away_at = self._clock() if is_store_away(error) else None
        else:
            self._away_at = None
        return self._away_at is not None
