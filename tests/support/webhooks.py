"""Tenants' webhook endpoints in tests, and the deliveries to them."""

from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, text

from app.webhooks import endpoints
from app.webhooks.emitting import emit
from tests.support.jobs import requeue
from tests.support.receiver import Receiver
from tests.support.runtime import Worker
from workers import handlers  # noqa: F401 - they are registered by being imported

PLAN = {"plan": "active"}


def add_endpoint(
    worker: Worker, tenant_id: UUID, receiver: Receiver, *events: str
) -> tuple[UUID, str]:
    """Its id and its secret."""
    with worker.runtime.engine.begin() as tx:
        return endpoints.create(
            tx,
            tenant_id,
            worker.runtime.settings,
            url=receiver.url(),
            events=list(events or ["*"]),
            description="",
        )


def emit_plan(engine: Engine, tenant_id: UUID) -> None:
    with engine.begin() as tx:
        emit(tx, tenant_id, "plan.changed", PLAN)


def deliveries(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT * FROM webhook_deliveries ORDER BY id")))


def attempts(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT * FROM webhook_attempts ORDER BY id")))


def endpoint(engine: Engine, endpoint_id: UUID) -> Row[Any]:
    with engine.connect() as tx:
        query = text("SELECT * FROM webhook_endpoints WHERE id = :id")
        return tx.execute(query, {"id": endpoint_id}).one()


def run_due(worker: Worker, engine: Engine) -> UUID:
    """Run the newest delivery's job, now; its id."""
    job_id: UUID = deliveries(engine)[-1].job_id
    requeue(engine, job_id)
    worker.deliver(job_id)
    return job_id
