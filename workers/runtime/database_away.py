"""Messages that wait for the database, in the main process.

Given back while it is away, a message would come again at once, to another child that waits for the database in vain; and
each time counts towards the broker's delivery limit. So it is held until the database answers. What was at work by then
goes to the outbox first, at the cost of no attempt; then the message goes back, for whatever else it is for.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, bootsteps
from sqlalchemy import Engine

from app.db import reach
from app.ledger.rescue import put_back_hindered
from app.logs import cause
from workers.runtime.given_back import jobs_at_work
from workers.runtime.message import Given, job_ids_of
from workers.runtime.vitals import ask_until_answered

log = structlog.get_logger()

HOLD_SECONDS = 1200.0
"""The broker closes the channel of whoever has a message for half an hour."""
SETTLE_SECONDS = 1.0
"""A database that stood still first does what it was told before: a claim of a child that is gone by now, for one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    since: float
    request: Given
    give_back: Callable[[], None]


class Holding:
    """Of one worker. What it gives back is given back by the event loop, through `soon`; `add` may be called by any
    thread.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._told = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Given, give_back: Callable[[], None]) -> None:
        """Until the database answers, or for HOLD_SECONDS."""
        with self._told:
            self._waiting.append(_Waiting(time.monotonic(), request, give_back))
            self._told.notify()

    def run(self, worker: str, soon: Callable[[Callable[[], None]], object]) -> None:
        """For ever."""
        while True:
            with self._told:
                self._told.wait_for(lambda: bool(self._waiting))
            self._until_back(worker, soon)

    def _until_back(self, worker: str, soon: Callable[[Callable[[], None]], object]) -> None:
        began, away = time.monotonic(), False

        def put_back(engine: Engine) -> tuple[list[_Waiting], list[UUID]]:
            waiting = list(self._waiting)
            jobs = job_ids_of(*(one.request for one in waiting)) - jobs_at_work()
            reach(engine)
            time.sleep(SETTLE_SECONDS if away else 0)
            with engine.begin() as tx:
                return waiting, put_back_hindered(tx, jobs, worker=worker) if away and jobs else []

        def still_away(error: Exception) -> None:
            nonlocal away
            if not away:
                log.warning("worker.database_away", messages=len(self), error=cause(error))
            away = True
            overdue = time.monotonic() - HOLD_SECONDS
            self._let_go([one for one in self._waiting if one.since < overdue], soon)

        waiting, jobs = ask_until_answered(put_back, still_away)
        for job_id in jobs:
            log.warning("job.rescued", job_id=str(job_id), reason="database_away")
        self._let_go(waiting, soon)
        if away:
            log.warning("worker.database_back", seconds=round(time.monotonic() - began, 1))

    def _let_go(
        self, some: Collection[_Waiting], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        with self._told:
            self._waiting = [one for one in self._waiting if one not in some]
        for one in some:
            soon(one.give_back)


class DatabaseAway(bootsteps.StartStopStep):
    """Added to the worker: the thread of its `holding`."""

    requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")
    holding = Holding()

    @classmethod
    def install(cls, app: Celery) -> None:
        """For the app's workers."""
        app.steps["worker"].add(cls)

    def start(self, parent: Any) -> None:
        """Begin."""
        facts = (parent.hostname, parent.hub.call_soon)
        threading.Thread(target=self.holding.run, args=facts, name="held", daemon=True).start()
