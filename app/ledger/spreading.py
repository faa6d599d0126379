"""A cancel reaches what was begun by what is cancelled: the children of a job, the jobs of a batch.

It is written down in the commit that cancels, and then works its way through them in bounded steps, by any
dispatcher: so it survives every restart, and a hundred thousand children hold nobody up.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import OperationalError

from app.errors import Conflict
from app.ids import new_id
from app.ledger.aftermath import Aftermaths, Ending, Subject, follow_end
from app.ledger.batches import missing
from app.ledger.ending import end_from_outside, stand_still
from app.ledger.job_error import JobError, job_error
from app.ledger.state import FINISHED, Event, State

STEP = 500

_OPEN = "('waiting', 'scheduled', 'queued', 'running')"
_BEGUN = f"""
    EXISTS (SELECT FROM jobs child WHERE child.parent_id = {{job}} AND child.state IN {_OPEN}
            AND NOT child.id = ANY(CAST(:spared AS uuid[])))
    OR EXISTS (SELECT FROM batches WHERE parent_id = {{job}} AND finished_at IS NULL)
"""  # noqa: S608
_FROM_JOB = text(f"""
    INSERT INTO cancellations (id, tenant_id, job_id, reason, spared)
    SELECT CAST(:id AS uuid), CAST(:tenant_id AS uuid), CAST(:job_id AS uuid), :reason,
           CAST(:spared AS uuid[])
    WHERE {_BEGUN.format(job=":job_id")}
""")
_FROM_BATCH = text("""
    INSERT INTO cancellations (id, tenant_id, batch_id, reason)
    VALUES (:id, :tenant_id, :batch_id, :reason)
""")
_TAKE = text("""
    SELECT id, tenant_id, job_id, batch_id, reason, spared, after, again FROM cancellations
    WHERE CAST(:behind AS uuid) IS NULL OR id > :behind
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
""")
_PAGE = f"""
    SELECT id, tenant_id, kind, version, payload, traceparent FROM jobs
    WHERE {{owner}} AND state IN {_OPEN} AND NOT id = ANY(CAST(:spared AS uuid[]))
      AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :step
"""  # noqa: S608
_CHILDREN = text(_PAGE.format(owner="parent_id = :job_id"))
_MEMBERS = text(_PAGE.format(owner="batch_id = :batch_id"))
_BATCHES = text("""
    SELECT id FROM batches
    WHERE parent_id = :job_id AND finished_at IS NULL AND cancelled_at IS NULL LIMIT 100
""")
_SHARDS_OF = text("""
    SELECT FROM batch_shards WHERE (batch_id, shard) IN (
        SELECT batch_id, batch_shard FROM jobs WHERE id = ANY(:ids) AND batch_id IS NOT NULL)
    ORDER BY batch_id, shard FOR NO KEY UPDATE
""")
# Shards first, and jobs that somebody holds are left for later: nothing here waits for a job's row. Ended
# by a statement of its own, as in `ending`.
_LOCK_MANY = text(f"""
    SELECT id FROM jobs WHERE id = ANY(:ids) AND state IN {_OPEN}
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608 - constants
_END_MANY = text(f"""
    WITH moved AS (
        UPDATE jobs SET state = 'cancelled', lease_until = NULL, error = CAST(:error AS jsonb),
                        finished_at = clock_timestamp()
        WHERE id = ANY(:ids)
        RETURNING id, tenant_id, attempt, old.state AS was
    ), landed AS (
        DELETE FROM in_flight USING moved WHERE in_flight.job_id = moved.id
    ), unboxed AS (
        DELETE FROM outbox USING moved WHERE outbox.job_id = moved.id
    ), unheld AS (
        DELETE FROM waiting USING moved WHERE waiting.job_id = moved.id
    ), further AS (
        INSERT INTO cancellations (id, tenant_id, job_id, reason, spared)
        SELECT uuidv7(), tenant_id, id, :reason, CAST(:spared AS uuid[]) FROM moved
        WHERE {_BEGUN.format(job="moved.id")}
    )
    INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, detail)
    SELECT tenant_id, id, clock_timestamp(), 'cancel', was, 'cancelled', attempt,
           CAST(:error AS jsonb)
    FROM moved
""")  # noqa: S608 - constants
_MOVE_ON = text("UPDATE cancellations SET after = :after, again = :again WHERE id = :id")
_ARRIVED = text("DELETE FROM cancellations WHERE id = :id")
_LOCK_SHARDS = text("""
    SELECT FROM batch_shards WHERE batch_id = :id ORDER BY shard FOR NO KEY UPDATE
""")
_NO_ROOM = text("UPDATE batch_shards SET share = 0 WHERE batch_id = :id AND share IS NOT NULL")
_CANCEL = text("""
    UPDATE batches SET cancelled_at = clock_timestamp(),
                       closed_at = coalesce(closed_at, clock_timestamp())
    WHERE id = :id AND finished_at IS NULL AND cancelled_at IS NULL
    RETURNING tenant_id
""")
_COMPLETE = text("SELECT flow_complete(:id)")
_STATE = text("""
    SELECT state, cancelled_at IS NOT NULL AS cancelled FROM batches
    WHERE id = :id AND (CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id)
""")
_PATIENCE = text("SET LOCAL lock_timeout = '1s'")


@dataclass(frozen=True, slots=True)
class Spread:
    """A step of the cancellation `id`; `more` says that its next one need not wait."""

    id: UUID
    more: bool


def spread_from_job(
    tx: Connection, tenant_id: UUID, job_id: UUID, *, reason: str, spared: Sequence[UUID] = ()
) -> None:
    """The job is cancelled in this transaction: have its children and batches cancelled, too. `spared`
    are children that were begun because of it.
    """
    tx.execute(
        _FROM_JOB,
        {
            "id": new_id(),
            "tenant_id": tenant_id,
            "job_id": job_id,
            "reason": reason,
            "spared": list(spared),
        },
    )


def cancel_batch(tx: Connection, tenant_id: UUID | None, batch_id: UUID, *, reason: str) -> None:
    """Cancel the batch: no job is added or released any more, and those that have not ended are cancelled
    from the commit of this on, step by step. `tenant_id` None is any tenant's. It ends as `cancelled`
    when the last one has ended; one that is cancelled already stays so.

    Raises NotFound, and Conflict when the batch has ended otherwise.
    """
    row = tx.execute(_STATE, {"id": batch_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise missing(batch_id)
    tx.execute(_LOCK_SHARDS, {"id": batch_id})
    tx.execute(_NO_ROOM, {"id": batch_id})
    owner = tx.execute(_CANCEL, {"id": batch_id}).scalar_one_or_none()
    if owner is not None:
        facts = {"id": new_id(), "tenant_id": owner, "batch_id": batch_id, "reason": reason}
        tx.execute(_FROM_BATCH, facts)
        tx.execute(_COMPLETE, {"id": batch_id})
        return
    row = tx.execute(_STATE, {"id": batch_id, "tenant_id": tenant_id}).one()
    if not row.cancelled:
        raise Conflict(
            f"Batch {batch_id} has {row.state}; only one that has not ended can be cancelled."
        )


def spread_next(tx: Connection, aftermaths: Aftermaths, *, behind: UUID | None) -> Spread | None:
    """Bring the first cancellation `behind` that one a step further; None when there is none.

    A step is a few hundred jobs at once, or one whose kind has an aftermath. A job that somebody holds is
    come back to.
    """
    order = tx.execute(_TAKE, {"behind": behind}).one_or_none()
    if order is None:
        return None
    again = order.again or _reach_batches(tx, order)
    page = tx.execute(
        _CHILDREN if order.batch_id is None else _MEMBERS,
        {
            "job_id": order.job_id,
            "batch_id": order.batch_id,
            "spared": order.spared,
            "after": order.after,
            "step": STEP,
        },
    ).all()
    plain = list(takewhile(lambda job: job.kind not in aftermaths, page))
    if plain:
        again = _end_many(tx, order, [job.id for job in plain]) or again
        last = plain[-1].id
    elif page:
        again = not _end_one(tx, aftermaths, order, page[0]) or again
        last = page[0].id
    if page:
        tx.execute(_MOVE_ON, {"id": order.id, "after": last, "again": again})
    elif again:
        tx.execute(_MOVE_ON, {"id": order.id, "after": None, "again": False})
    else:
        tx.execute(_ARRIVED, {"id": order.id})
    return Spread(order.id, more=bool(page))


def _reach_batches(tx: Connection, order: Row[Any]) -> bool:
    """Cancel the batches that the job opened; True when there may be more."""
    if order.job_id is None or order.after is not None:
        return False
    found = tx.execute(_BATCHES, {"job_id": order.job_id}).scalars().all()
    for batch_id in found:
        cancel_batch(tx, None, batch_id, reason=order.reason)
    return bool(found)


def _end_many(tx: Connection, order: Row[Any], ids: Sequence[UUID]) -> bool:
    """True when somebody held one of them."""
    tx.execute(_SHARDS_OF, {"ids": ids})
    free = list(tx.execute(_LOCK_MANY, {"ids": ids}).scalars())
    facts = {"ids": free, "reason": order.reason, "spared": []}
    tx.execute(_END_MANY, {**facts, "error": json.dumps(_error(order))})
    return len(free) < len(ids)


def _end_one(tx: Connection, aftermaths: Aftermaths, order: Row[Any], row: Row[Any]) -> bool:
    """With what follows from it; False when somebody held it for too long."""
    error = _error(order)
    subject = Subject(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    try:
        with tx.begin_nested() as all_or_nothing:
            tx.execute(_PATIENCE)
            ending = Ending(state=State.CANCELLED, error=error)
            spared = follow_end(tx, aftermaths, subject, ending)
            job = stand_still(tx, subject.id)
            if job is None or job.state in FINISHED:
                all_or_nothing.rollback()
                return True
            end_from_outside(tx, subject.id, Event.CANCEL, error, was=job.state)
            spread_from_job(tx, subject.tenant_id, subject.id, reason=order.reason, spared=spared)
    except OperationalError as error_:
        if getattr(error_.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        return False
    return True


def _error(order: Row[Any]) -> JobError:
    return job_error("cancelled", order.reason)
