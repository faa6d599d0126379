"""The edge to Celery: one task per contract, and the parts that a child process makes once."""

from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from app.db import make_engine
from app.ledger.contract import JobContract
from app.settings import get_settings
from app.storage import make_storage
from workers.runtime.executor import Delivery, Disposition, Runtime, execute
from workers.runtime.lease import LeaseKeeper

log = structlog.get_logger()


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """What a child works with. Made by the main process before it forks, so that no child's first job
    pays for it; connections are opened on first use, and so by each child for itself.

    At most two to the database: the job's own, and for a moment the heartbeat's.
    """
    settings = get_settings()
    engine = make_engine(settings, pool_size=1, max_overflow=1, application_name="millrace-worker")
    return Runtime(
        engine=engine,
        storage=make_storage(settings),
        settings=settings,
        leases=LeaseKeeper(engine, lease_seconds=settings.lease_seconds),
        soft_timeout=SoftTimeLimitExceeded,
    )


def register_task(app: Celery, contract: type[JobContract]) -> None:
    """Make the Celery task of the contract's name: it runs whatever the ledger holds for the job's id."""

    def run(self: Task[Any, Any], *_: Any, **message: Any) -> None:
        info = self.request.delivery_info or {}
        log.debug("job.delivered", **message)
        try:
            job_id = UUID(str(message.get("job_id")))
        except ValueError:
            log.error("message.without_job", kind=contract.spec.kind)  # noqa: TRY400 - no fault of ours
            raise Reject("no job id", requeue=False) from None
        delivery = Delivery(
            job_id=job_id,
            worker=f"{self.request.hostname}",
            redelivered=bool(info.get("redelivered")),
        )
        match execute(runtime(), delivery):
            case Disposition.ACKNOWLEDGE:
                return
            case Disposition.DEAD_LETTER:
                raise Reject("dead", requeue=False)
            case Disposition.GIVE_BACK:
                raise Reject("the database is away", requeue=True)

    app.task(
        name=contract.spec.kind,
        bind=True,
        soft_time_limit=contract.spec.soft_seconds,
        time_limit=contract.spec.hard_seconds,
    )(run)
