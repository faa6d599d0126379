"""The queues: what waits in them, how fast it goes; and for operators, pause and resume."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection, text

from app.api.bodies import Body, BoundedRoute, Reason
from app.api.problems import describe
from app.api.session import CatalogDep, CurrentOperator, Reader, Tx
from app.broker.topology import Queue
from app.ledger.backlog import ALL_TENANTS, depths
from app.ledger.rules import Scope, load_rules
from app.operations.dispatch import pause, resume

router = APIRouter(prefix="/v1", tags=["queues"], route_class=BoundedRoute)

_IN_FLIGHT = text("""
    SELECT queue, count(*) FROM in_flight
    WHERE CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id GROUP BY queue
""")
_DEAD = text("""
    SELECT d.queue, count(*) FROM dead_letters d
    WHERE d.state = 'open' AND d.job_id IS NOT NULL AND (CAST(:tenant_id AS uuid) IS NULL OR d.tenant_id = :tenant_id)
    GROUP BY d.queue
""")
# The history's newest part is all that is looked at, so that this costs the same at any length of it. What comes in is
# what goes out: a job of a batch or a flow comes when it is released, and one that was dead when it is replayed; one
# that ends while it still waits for others has never been in.
_RATES = text("""
    WITH newest AS (
        SELECT job_id, tenant_id, at, from_state, to_state FROM job_history ORDER BY id DESC LIMIT 5000
    ), late AS (
        SELECT * FROM newest WHERE at > clock_timestamp() - interval '1 minute'
    ), span AS (
        SELECT CASE WHEN count(*) < 5000 THEN 60
                    ELSE extract(epoch FROM clock_timestamp() - min(at)) END AS seconds FROM late
    )
    SELECT j.queue,
           count(*) FILTER (WHERE late.to_state = 'scheduled'
                              AND coalesce(late.from_state, 'waiting') IN ('waiting', 'dead')
                           ) * 60.0 / max(span.seconds) AS arrived,
           count(*) FILTER (WHERE late.to_state IN ('succeeded', 'dead', 'cancelled')
                              AND late.from_state IN ('scheduled', 'queued', 'running')
                           ) * 60.0 / max(span.seconds) AS ended
    FROM late JOIN jobs j ON j.id = late.job_id CROSS JOIN span
    WHERE CAST(:tenant_id AS uuid) IS NULL OR late.tenant_id = :tenant_id
    GROUP BY j.queue
""")


class QueueView(BaseModel):
    """A queue. A tenant sees its own jobs in it, an operator everybody's."""

    name: Queue
    paused_at: Annotated[datetime | None, Field(description="Nothing is sent to it since.")]
    depth: Annotated[int, Field(description="Jobs that are due and not sent to a worker yet.")]
    later: Annotated[int, Field(description="Jobs whose time is still to come.")]
    in_flight: Annotated[int, Field(description="Jobs with the broker or a worker.")]
    oldest_at: Annotated[datetime | None, Field(description="When the longest due was to run.")]
    lag_seconds: Annotated[float, Field(description="For how long that has been due.")]
    arrived_per_minute: Annotated[
        float,
        Field(
            description="Jobs that came into it in the last minute: posted, released by what they waited for or by"
            " their batch, replayed. Not retries."
        ),
    ]
    ended_per_minute: Annotated[
        float, Field(description="Of those, the jobs that succeeded, died or were cancelled in it.")
    ]
    dead: Annotated[int, Field(description="Jobs that are dead and not dealt with.")]
    measured_at: Annotated[
        datetime | None, Field(description="When depth, later and lag were measured.")
    ]


class Queues(BaseModel):
    """All of them, most urgent first."""

    items: list[QueueView]


class PauseRequest(Body):
    """Why; shown to operators, and kept in the audit log."""

    reason: Reason = "Paused by an operator."


class ResumeRequest(Body):
    """Why; kept in the audit log."""

    reason: Reason = "Resumed by an operator."


@router.get("/queues", responses=describe(422))
def list_queues(reader: Reader, tx: Tx) -> Queues:
    """The queues with the figures of the key's tenant, or with an operator's key of everybody."""
    return Queues(items=queue_views(tx, reader))


@router.post("/queues/{name}/pause", responses=describe(403, 404, 413, 422))
def pause_queue(
    name: str,
    operator: CurrentOperator,
    tx: Tx,
    catalog: CatalogDep,
    request: PauseRequest | None = None,
) -> QueueView:
    """Operators: send nothing to the queue until it is resumed. What was sent already runs."""
    reason = (request or PauseRequest()).reason
    pause(tx, operator, catalog, Scope.QUEUE, name, reason=reason)
    return _view(tx, name)


@router.post("/queues/{name}/resume", responses=describe(403, 404, 413, 422))
def resume_queue(
    name: str,
    operator: CurrentOperator,
    tx: Tx,
    catalog: CatalogDep,
    request: ResumeRequest | None = None,
) -> QueueView:
    """Operators: send to the queue again. Nothing happens when it isn't paused."""
    reason = (request or ResumeRequest()).reason
    resume(tx, operator, catalog, Scope.QUEUE, name, reason=reason)
    return _view(tx, name)


def _view(tx: Connection, name: str) -> QueueView:
    return next(view for view in queue_views(tx, None) if view.name == name)


def queue_views(tx: Connection, tenant_id: UUID | None) -> list[QueueView]:
    """As they stand; `tenant_id` None is everybody's."""
    whose = {"tenant_id": tenant_id}
    waiting = {each.queue: each for each in depths(tx, tenant_id or ALL_TENANTS)}
    measured = {each.queue: each.measured_at for each in depths(tx, ALL_TENANTS)}
    in_flight: dict[str, int] = {row[0]: row[1] for row in tx.execute(_IN_FLIGHT, whose)}
    dead: dict[str, int] = {row[0]: row[1] for row in tx.execute(_DEAD, whose)}
    rates: dict[str, Any] = {row.queue: row for row in tx.execute(_RATES, whose)}
    rules = load_rules(tx).by_name
    views = []
    for queue in Queue:
        depth, rate = waiting.get(queue.value), rates.get(queue.value)
        rule = rules.get((Scope.QUEUE, queue.value))
        views.append(
            QueueView(
                name=queue,
                paused_at=rule and rule.paused_at,
                depth=depth.ready if depth else 0,
                later=depth.later if depth else 0,
                in_flight=in_flight.get(queue.value, 0),
                oldest_at=depth and depth.oldest,
                lag_seconds=max(0.0, (depth and depth.lag_seconds) or 0.0),
                arrived_per_minute=round(float(rate.arrived), 1) if rate else 0.0,
                ended_per_minute=round(float(rate.ended), 1) if rate else 0.0,
                dead=dead.get(queue.value, 0),
                measured_at=measured.get(queue.value),
            )
        )
    return views
