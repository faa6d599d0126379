"""Plain Celery tasks on our pools: bounded, retried at once or not at all, and never lost without a cause.

A task that raises has its message dead-lettered (`task_acks_on_failure=False`). Why it raised travels beside it: it
is noted in the database, where the dispatcher's collector joins the two.
"""

from typing import Any, NoReturn

import structlog
from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import SQLAlchemyError

from app.broker.tasks import PREFIX
from app.ledger.job_error import describe_exception
from app.ledger.task_errors import note_error
from app.logs import cause
from workers.runtime import soft_limit
from workers.runtime.task import runtime

log = structlog.get_logger()

SOFT_SECONDS = 60
HARD_SECONDS = 90


class PauseRefused(ValueError):
    """A countdown or ETA: the message would lie in one worker's memory until then."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"{task} asks for a pause (countdown or eta), and plain tasks have none: retry at once with "
            "countdown=0, or make it a job, whose retries wait in the ledger. See docs/plain-celery.md."
        )


class PlainTask(Task):  # type: ignore[type-arg]
    """The base of every `@shared_task`."""

    abstract = True
    send_events = True
    default_retry_delay = 0
    soft_time_limit = SOFT_SECONDS
    time_limit = HARD_SECONDS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, with the soft limit reaching it wherever a job ran in this child before."""
        soft_limit.install(SoftTimeLimitExceeded)
        return soft_limit.interruptible(self.run)(*args, **kwargs)

    def apply_async(self, *arguments: Any, **options: Any) -> Any:
        """As Celery's. Raises PauseRefused for a countdown or an ETA."""
        if options.get("countdown") or options.get("eta"):
            raise PauseRefused(self.name)
        return super().apply_async(*arguments, **options)

    def retry(self, *arguments: Any, **options: Any) -> NoReturn:
        """As Celery's: a new message at once, up to `max_retries` times. Raises PauseRefused for a pause."""
        if options.get("countdown") or options.get("eta"):
            raise PauseRefused(self.name) from options.get("exc")
        super().retry(*arguments, **{**options, "countdown": 0})
        raise AssertionError("unreachable")

    def on_failure(self, exc: BaseException, task_id: str, *_: Any) -> None:
        """Note why, for the dead letter that is about to come."""
        error = describe_exception(exc, "exception")
        log.warning("task.failed", task=self.name, task_id=task_id, error_type=error.get("type"))
        try:
            with runtime().engine.begin() as tx:
                note_error(tx, task_id, error)
        except SQLAlchemyError as away:
            log.warning("task.error_not_noted", task_id=task_id, error=cause(away))


def check_names(names: set[str]) -> None:
    """Raise ValueError for a task that is neither a contract's nor called `tasks.` and something."""
    odd = sorted(name for name in names if not name.startswith((PREFIX, "celery.")))
    if odd:
        raise ValueError(
            f"{odd[0]!r}: a plain task says its name, @shared_task(name='{PREFIX}...')"
        )
