"""Plain Celery tasks that only tests have: each does what a team's own may do."""

import threading
from pathlib import Path
from typing import Any

from celery import shared_task


class TooBad(Exception):
    """What they raise."""


@shared_task(name="tasks.test_touch")
def touch(path: str) -> None:
    Path(path).touch()


@shared_task(name="tasks.test_relay", queue="default")
def relay(path: str) -> None:
    """Sends another by `delay`."""
    touch.delay(path)


@shared_task(name="tasks.test_fail")
def fail(until: str) -> None:
    """Fails until the file is there."""
    if not Path(until).exists():
        raise TooBad("nothing at all")
    Path(until).write_text("done")


@shared_task(name="tasks.test_again", bind=True, max_retries=2)
def again(self: Any, folder: str) -> None:
    """Leaves a file an attempt, and asks for another at once."""
    (Path(folder) / f"attempt-{self.request.retries}").touch()
    raise self.retry(exc=TooBad("three times"))


@shared_task(name="tasks.test_later", bind=True)
def later(self: Any) -> None:
    raise self.retry(exc=TooBad("later"), countdown=30)


@shared_task(name="tasks.test_slow", soft_time_limit=1, time_limit=20)
def slow() -> None:
    threading.Event().wait(60)
