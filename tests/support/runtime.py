"""The worker's runtime without Celery: real database, real storage, handlers of the test's own."""

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine

from app.ledger.contract import JobContract
from app.settings import Settings
from app.storage import Storage
from workers.runtime.context import Context
from workers.runtime.executor import Delivery, Disposition, Runtime, execute
from workers.runtime.lease import LeaseKeeper
from workers.runtime.registry import Registration, registrations

OnDead = Callable[[Connection, JobContract, dict[str, str]], Sequence[JobContract]]


class SoftTimeout(Exception):
    """Stands for the pool's own exception."""


class Worker:
    """Runs deliveries as a child of the pool does, in the test's own thread."""

    def __init__(
        self, engine: Engine, storage: Storage, settings: Settings, patch: pytest.MonkeyPatch
    ) -> None:
        self._patch = patch
        self.runtime = Runtime(
            engine=engine,
            storage=storage,
            settings=settings,
            leases=LeaseKeeper(engine, lease_seconds=settings.lease_seconds),
            soft_timeout=SoftTimeout,
        )

    def handle(
        self,
        contract: type[JobContract],
        handler: Callable[[Context, JobContract], object],
        *,
        on_dead: OnDead | None = None,
    ) -> None:
        """Have `handler` handle the contract until the test ends."""
        registration = Registration(contract, handler, on_dead)  # type: ignore[arg-type]
        self._patch.setitem(registrations(), contract.spec.kind, registration)

    def deliver(self, job_id: UUID, *, redelivered: bool = False) -> Disposition:
        delivery = Delivery(job_id=job_id, worker="test@here", redelivered=redelivered)
        return execute(self.runtime, delivery)
