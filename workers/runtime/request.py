"""What Celery's main process keeps of a message that a child works on."""

from enum import Enum, auto
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.exceptions import Reject
from celery.worker.request import Request as CeleryRequest

from app.ledger.put_off import DATABASE_AWAY
from app.logs import bound
from workers.runtime import metering
from workers.runtime.database_away import DatabaseAway
from workers.runtime.given_back import GivenBack


class _Back(Enum):
    """When a message goes back to the broker, if it does."""

    AT_ONCE = auto()
    WITH_THE_DATABASE = auto()
    HELD = auto()  # until then, by the thread that asks for it


class Request(CeleryRequest):
    """Celery's, which also counts the children that a hard time limit killed, has somebody look after the jobs of a
    message that it gives back, and holds one that would go back to a database that is away. What it says of a child that was
    lost names the job.
    """

    _back = _Back.AT_ONCE

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """In the main process. A child that waits for a database that hangs is ended by nothing else."""
        if not soft:
            metering.timed_out(str(self.name), "hard")
            self._hold()
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: ExceptionInfo, *more: Any, **named: Any) -> None:
        """In the main process, which has no job's ids bound."""
        why = exc_info.exception
        why = getattr(why, "exc", why)
        if isinstance(why, Reject) and why.args[:1] == (DATABASE_AWAY,):
            self._hold()
        with bound(job_id=str(self.id), kind=str(self.name)):
            super().on_failure(exc_info, *more, **named)

    def reject(self, requeue: bool = False) -> None:
        """As stock; with `requeue` the broker has the message again, if the line to it still stands."""
        if requeue and self._back is not _Back.AT_ONCE:
            if self._back is _Back.WITH_THE_DATABASE:
                self._back = _Back.HELD
                DatabaseAway.holding.add(self, self._give_back)
            return
        super().reject(requeue=requeue)
        if requeue:
            GivenBack.expect(self)

    def _hold(self) -> None:
        if self._back is _Back.AT_ONCE:
            self._back = _Back.WITH_THE_DATABASE

    def _give_back(self) -> None:
        self._back = _Back.AT_ONCE
        self.reject(requeue=True)
