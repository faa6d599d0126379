"""The worker's runtime without Celery: real database, real storage, handlers of the test's own."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.aftermath import AFTERMATHS
from app.ledger.aftermath import Aftermath, Ending
from app.ledger.contract import JobContract
from app.mailing.smtp import Mailer
from app.settings import Settings
from app.storage import Storage, make_storage
from workers.runtime.attempt import Delivery, Runtime
from workers.runtime.context import Context
from workers.runtime.executor import Disposition, execute
from workers.runtime.lease import LeaseKeeper
from workers.runtime.registry import Registration, registrations
from workers.runtime.store_watch import StoreWatch
from workers.runtime.together import run_apart, run_message

Ended = Callable[[Connection, Any, Ending], Sequence[JobContract]]


_SENT = text("""
    SELECT j.kind, coalesce(f.attempt, j.attempt)
    FROM jobs j LEFT JOIN in_flight f ON f.job_id = j.id WHERE j.id = :job_id
""")
"""What the newest message of the job says."""


class Killed(SystemExit):
    """The process ends here, as by SIGKILL: nothing of ours runs any more."""


class SoftTimeout(Exception):
    """Stands for the pool's own exception."""


class Worker:
    """Runs deliveries as a child of the pool does, in the test's own thread."""

    def __init__(
        self, engine: Engine, storage: Storage, settings: Settings, patch: pytest.MonkeyPatch
    ) -> None:
        self._patch = patch
        self.aftermaths: dict[str, Aftermath] = dict(AFTERMATHS)
        self.runtime = Runtime(
            engine=engine,
            store=StoreWatch(storage, make_storage(settings, patient=False).check),
            mailer=Mailer(settings),
            settings=settings,
            leases=LeaseKeeper(engine, lease_seconds=settings.lease_seconds),
            soft_timeout=SoftTimeout,
            aftermaths=self.aftermaths,
        )

    def close(self) -> None:
        """Leave the mail server."""
        self.runtime.mailer.close()

    def handle(
        self,
        contract: type[JobContract],
        handler: Callable[[Context, JobContract], object],
        *,
        ended: Ended | None = None,
    ) -> None:
        """Have `handler` handle the contract until the test ends."""
        if ended is not None:
            self.aftermaths[contract.spec.kind] = Aftermath(
                contract=contract, ended=ended, revived=lambda _tx, _job: ()
            )
        registration = Registration(contract, handler)  # type: ignore[arg-type]
        self._patch.setitem(registrations(), contract.spec.kind, registration)

    def deliver(
        self,
        job_id: UUID,
        *,
        redelivered: bool = False,
        traceparent: str | None = None,
        alone: bool = True,
    ) -> Disposition:
        with self.runtime.engine.connect() as tx:
            sent = tx.execute(_SENT, {"job_id": job_id}).one_or_none()
        kind, attempt = sent or ("", 0)
        delivery = Delivery(
            job_id=job_id,
            kind=kind,
            attempt=attempt,
            worker="test@here",
            redelivered=redelivered,
            traceparent=traceparent,
            alone=alone,
        )
        return execute(self.runtime, delivery)

    def deliver_together(
        self,
        kind: str,
        ids: Sequence[UUID],
        *,
        redelivered: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> list[Disposition]:
        """All of them in one message, each for its first time."""
        deliveries = [
            Delivery(
                job_id=job_id,
                kind=kind,
                attempt=1,
                worker="test@here",
                redelivered=redelivered,
                alone=False,
            )
            for job_id in ids
        ]
        return run_message(self.runtime, deliveries, clock=clock)

    def deliver_apart(
        self, kind: str, ids: Sequence[UUID], *, clock: Callable[[], float] = time.monotonic
    ) -> list[Disposition]:
        """Each in a message of its own, all at once, for the first time."""
        deliveries = [
            Delivery(job_id=job_id, kind=kind, attempt=1, worker="test@here", redelivered=False)
            for job_id in ids
        ]
        return run_apart(self.runtime, deliveries, clock=clock)
