"""Is this process alive, and are its servers there: two questions that are never answered by one another.

Alive is a process whose own loop turns: `Heartbeat`. It asks no server, so none that is away can have the
process restarted. Ready is asked of the servers, and every answer comes within a bounded time: `Probe`.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from app.errors import MillraceError

ALIVE_SECONDS = 60.0
"""The loop may stand still for so long: longer than any wait for a server that has fallen silent."""
ANSWER_SECONDS = 2.0
"""So long somebody who asks a probe waits for it; Kubernetes gives up after one to a few seconds."""
OK = "ok"
NO_ANSWER = "no answer"
NOT_YET = "not connected yet"


class Heartbeat:
    """What a process's main loop does each time that it comes round; `file` is touched for who looks there."""

    def __init__(self, file: str | None = None) -> None:
        self.file = Path(file) if file else None
        self._last = time.monotonic()

    def beat(self) -> None:
        """The loop turns."""
        self._last = time.monotonic()
        if self.file is not None:
            self.file.touch()

    def alive(self) -> bool:
        """It did of late."""
        return self.age() < ALIVE_SECONDS

    def age(self) -> float:
        """Seconds since the loop came round."""
        return time.monotonic() - self._last

    def end(self) -> None:
        """A process that has stopped leaves no heartbeat behind."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


class Probe:
    """Asks one server. Any number may call it: one question is under way at a time, and who comes meanwhile
    waits for the same answer, for ANSWER_SECONDS at most. A server that swallows questions costs one thread.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._answer = NO_ANSWER

    def __call__(self) -> str:
        """`ok`, what `ask` raised, an error of ours by its words and others by their name, or `no answer`. Never raises."""
        with self._lock:
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._run, name="probe", daemon=True)
                self._asking.start()
            asking = self._asking
        asking.join(ANSWER_SECONDS)
        return NO_ANSWER if asking.is_alive() else self._answer

    def _run(self) -> None:
        try:
            self._ask()
        except MillraceError as error:
            self._answer = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server isn't ready
            self._answer = type(error).__name__
        else:
            self._answer = OK


def all_ok(checks: Mapping[str, str]) -> bool:
    """Whether every answer is ok."""
    return all(answer == OK for answer in checks.values())
