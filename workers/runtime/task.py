"""The edge to Celery: one task per contract, and the parts that a child process makes once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from app.aftermath import AFTERMATHS
from app.connections import CHILD
from app.db import make_engine
from app.ledger.contract import JobContract
from app.ledger.put_off import DATABASE_AWAY
from app.mailing.smtp import Mailer
from app.settings import get_settings
from app.storage import make_storage, store_check
from app.traces import spans
from workers.runtime import metering, soft_limit
from workers.runtime.attempt import Delivery, Runtime
from workers.runtime.executor import Disposition
from workers.runtime.lease import LeaseKeeper
from workers.runtime.message import jobs_of
from workers.runtime.store_watch import StoreWatch
from workers.runtime.together import run_apart, run_message

log = structlog.get_logger()

REQUEST = "workers.runtime.request:Request"


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """What a child works with. Made by the main process before it forks, so that no child's first job
    pays for it; connections are opened on first use, and so by each child for itself.

    At most three to the database: the job's own, and for a moment the heartbeat's and that of an effect,
    a lock or a check.
    """
    settings = get_settings()
    engine = make_engine(
        settings,
        pool_size=CHILD.pool,
        max_overflow=CHILD.overflow,
        application_name="millrace-worker",
    )
    return Runtime(
        engine=engine,
        store=StoreWatch(make_storage(settings), store_check(settings)),
        mailer=Mailer(settings),
        settings=settings,
        leases=LeaseKeeper(engine, lease_seconds=settings.lease_seconds),
        soft_timeout=SoftTimeLimitExceeded,
        aftermaths=AFTERMATHS,
    )


def say_goodbye() -> None:
    """Before a child ends: the mail server is told, and the last spans are sent; a second each, at most."""
    if runtime.cache_info().currsize:
        runtime().mailer.close()
    spans.end()


def register_task(app: Celery, contract: type[JobContract]) -> None:
    """Make the Celery task of the contract's name: it runs whatever the ledger holds for the job's id."""

    def run(self: Task[Any, Any], *_: Any, **message: Any) -> None:
        with _at_work():
            _run_all(self, contract.spec.kind, message)

    app.task(
        name=contract.spec.kind,
        base=Task,
        bind=True,
        Request=REQUEST,
        send_events=True,
        soft_time_limit=contract.spec.soft_seconds,
        time_limit=contract.spec.hard_seconds,
    )(run)


@contextmanager
def _at_work() -> Iterator[None]:
    soft_limit.install(SoftTimeLimitExceeded)
    metering.message_begins()
    try:
        yield
    finally:
        metering.message_ends()


def run_group(deliveries: Sequence[Delivery]) -> list[Disposition]:
    """In a child: run brief jobs of as many messages, and say what is to become of each message. Raises nothing."""
    with _at_work():
        return run_apart(runtime(), deliveries)


def _run_all(task: Task[Any, Any], kind: str, message: Mapping[str, Any]) -> None:
    """The message's own job, and then its companions."""
    try:
        first, *companions = jobs_of(message)
    except (TypeError, ValueError):
        log.error("message.without_job", kind=kind)  # noqa: TRY400 - no fault of ours
        raise Reject("no job id", requeue=False) from None
    alone = not companions
    deliveries = [_delivery(task, kind, *one, alone=alone) for one in (first, *companions)]
    said = run_message(runtime(), deliveries)
    # With all that is left of it.
    if Disposition.HOLD in said:
        raise Reject(DATABASE_AWAY, requeue=True)
    if Disposition.GIVE_BACK in said:
        raise Reject("a fault of the runtime", requeue=True)
    # A companion's death is in the ledger; the message is the first job's, and follows that.
    if said[0] is Disposition.DEAD_LETTER:
        raise Reject("dead", requeue=False)


def _delivery(
    task: Task[Any, Any], kind: str, job_id: UUID, attempt: int, *, alone: bool
) -> Delivery:
    info = task.request.delivery_info or {}
    return Delivery(
        job_id=job_id,
        kind=kind,
        attempt=attempt,
        worker=f"{task.request.hostname}",
        redelivered=bool(info.get("redelivered")),
        traceparent=task.request.get("traceparent"),
        alone=alone,
    )
