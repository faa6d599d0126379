"""Connections, contacts and runs for the tests of sync."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger.outbox import mark_queued
from app.settings import Settings
from app.sync import connections, runs
from app.sync.connections import NewConnection
from app.sync.runs import Run
from tests.support.crm import LOOPBACK, Crm
from tests.support.runtime import Worker

NETWORKS = {"MILLRACE_OUTBOUND_ALLOWED_NETWORKS": f"{LOOPBACK}/32"}

_JOB = text("""
    SELECT id FROM jobs WHERE kind IN ('sync.pull', 'sync.push') AND state = 'scheduled'
    ORDER BY id LIMIT 1
""")
_CONTACT = text("""
    INSERT INTO contacts (id, tenant_id, email, first_name, last_name, company, phone)
    VALUES (:id, :tenant_id, :email, :first_name, :last_name, :company, :phone)
""")


@dataclass(slots=True, kw_only=True)
class Sync:
    """A tenant's connection with a CRM, and a worker to run its jobs."""

    engine: Engine
    worker: Worker
    settings: Settings
    tenant_id: UUID
    crm: Crm
    connection_id: UUID

    def start(self) -> UUID:
        with self.engine.begin() as tx:
            return runs.start(tx, self.tenant_id, self.connection_id).id

    def step(self) -> UUID | None:
        """Deliver the next job that waits, whenever its time is; None when none does."""
        with self.engine.begin() as tx:
            job_id: UUID | None = tx.execute(_JOB).scalar_one_or_none()
            if job_id is not None:
                mark_queued(tx, [job_id])
        if job_id is not None:
            self.worker.deliver(job_id)
        return job_id

    def run(self, *, steps: int = 30, between: Callable[[], object] = lambda: None) -> Run:
        """A whole run, `between` before each of its jobs' deliveries."""
        run_id = self.start()
        for _ in range(steps):
            between()
            if self.step() is None:
                break
        return self.load(run_id)

    def load(self, run_id: UUID) -> Run:
        with self.engine.connect() as tx:
            return runs.load(tx, run_id)

    def contact(self, email: str) -> dict[str, Any] | None:
        query = text("SELECT * FROM contacts WHERE tenant_id = :tenant_id AND email = :email")
        with self.engine.connect() as tx:
            row = tx.execute(query, {"tenant_id": self.tenant_id, "email": email}).one_or_none()
        return None if row is None else dict(row._mapping)

    def emails(self) -> list[str]:
        query = text("SELECT email FROM contacts WHERE tenant_id = :tenant_id ORDER BY email")
        with self.engine.connect() as tx:
            return list(tx.execute(query, {"tenant_id": self.tenant_id}).scalars())

    def add(self, email: str, **fields: str) -> None:
        empty = dict.fromkeys(("first_name", "last_name", "company", "phone"))
        facts = {**empty, **fields, "id": new_id(), "tenant_id": self.tenant_id, "email": email}
        with self.engine.begin() as tx:
            tx.execute(_CONTACT, facts)

    def edit(self, email: str, *, ago: float = 0, **fields: str | None) -> None:
        sets = ", ".join(f"{name} = :{name}" for name in fields)
        query = f"UPDATE contacts SET {sets}, updated_at = now() - make_interval(secs => :ago) WHERE email = :was"  # noqa: S608
        with self.engine.begin() as tx:
            assert tx.execute(text(query), {**fields, "was": email, "ago": ago}).rowcount == 1

    def remove(self, email: str) -> None:
        with self.engine.begin() as tx:
            tx.execute(text("DELETE FROM contacts WHERE email = :email"), {"email": email})

    def change(self, **changes: Any) -> None:
        with self.engine.begin() as tx:
            connections.edit(tx, self.tenant_id, self.connection_id, changes, self.settings)


def connect(
    engine: Engine, worker: Worker, settings: Settings, tenant_id: UUID, crm: Crm, **more: Any
) -> Sync:
    """A new connection with the CRM; fast, so that tests don't wait."""
    facts = {"name": "CRM", "push": True, "deletes": "keep", "per_second": 100, **more}
    new = NewConnection(base_url=crm.url, token=crm.token, **facts)
    with engine.begin() as tx:
        connection_id = connections.create(tx, tenant_id, new, settings)
    return Sync(
        engine=engine,
        worker=worker,
        settings=settings,
        tenant_id=tenant_id,
        crm=crm,
        connection_id=connection_id,
    )
