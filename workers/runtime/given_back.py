"""Jobs whose child died, or was ended by a time limit: their message goes back to the broker, which redelivers it
at once, unless it can't, because the line broke or nobody takes it as redelivered. Then only the end of the
lease would help, a minute later.

So the main process, which knows that no child of its own runs them any more, looks a moment later: a job that is
still `running` in this worker's name goes back to the outbox. If its message comes after all, whichever is later
finds nothing to claim.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, bootsteps
from celery.worker import state
from sqlalchemy import Engine

from app.ledger.rescue import put_back_abandoned
from app.logs import cause
from workers.runtime.message import Given, job_ids_of
from workers.runtime.vitals import ask_until_answered

log = structlog.get_logger()

GRACE_SECONDS = 1.5
"""A redelivery takes a few milliseconds, and a new child, where one is waited for, half a second."""
AGAIN_GRACE_SECONDS = 15.0
"""For a message that had come back before: this may have been once too often, the broker has given it up, and the
collector of dead letters is to hear of it first.
"""


class Expected:
    """Jobs by the moment to look after them. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._due: dict[UUID, float] = {}
        self._told = threading.Condition()

    def add(self, jobs: Iterable[UUID], seconds: float) -> None:
        """Look after them in so many seconds from now, and no sooner: what was said before of any of them was said
        of a message that has come since.
        """
        with self._told:
            self._due.update(dict.fromkeys(jobs, time.monotonic() + seconds))
            self._told.notify()

    def take(self) -> set[UUID]:
        """Waits for the next that are due, and forgets them."""
        with self._told:
            while not (due := {job for job, at in self._due.items() if at <= time.monotonic()}):
                first = min(self._due.values(), default=None)
                self._told.wait(None if first is None else first - time.monotonic())
            for job in due:
                del self._due[job]
            return due


class GivenBack(bootsteps.StartStopStep):
    """Added to the worker; looks after what `expect` is told, in a thread."""

    requires = ("celery.worker.components:Pool",)
    _expected = Expected()

    @classmethod
    def install(cls, app: Celery) -> None:
        """For the app's workers."""
        app.steps["worker"].add(cls)

    @classmethod
    def expect(cls, request: Given) -> None:
        """The request's message was given back just now."""
        again = bool(request.delivery_info.get("redelivered"))
        cls._expected.add(job_ids_of(request), AGAIN_GRACE_SECONDS if again else GRACE_SECONDS)

    def start(self, parent: Any) -> None:
        """Begin."""
        threading.Thread(
            target=self._run, args=(parent.hostname,), name="given-back", daemon=True
        ).start()

    def _run(self, worker: str) -> None:
        while True:
            jobs = self._expected.take()
            if jobs - jobs_at_work():
                self._look_after(worker, jobs)

    def _look_after(self, worker: str, jobs: set[UUID]) -> None:
        def put_back(engine: Engine) -> list[UUID]:
            with engine.begin() as tx:
                return put_back_abandoned(tx, jobs - jobs_at_work(), worker=worker)

        def unseen(error: Exception) -> None:
            log.info("worker.given_back_unseen", error=cause(error))

        for job_id in ask_until_answered(put_back, unseen):
            log.warning("job.rescued", job_id=str(job_id), reason="child_lost")


def jobs_at_work() -> set[UUID]:
    """The jobs of all messages that this worker has, and that a child of its own may therefore run."""
    while True:
        try:
            requests = list(state.reserved_requests)
        except RuntimeError:  # the event loop has changed it meanwhile
            continue
        return job_ids_of(*requests)
