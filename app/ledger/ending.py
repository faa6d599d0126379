"""End a job from outside its worker: what burial and cancel have in common.

The row is locked by a statement of its own. The next one then sees all that the holder before us
committed: a dispatcher's `in_flight` row or a retry's outbox row would otherwise outlive the job.
"""

import json
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.job_error import JobError
from app.ledger.state import TRANSITIONS, Event, State

_LOCK = text("""
    SELECT state, coalesce(deadline <= clock_timestamp(), false) AS overdue
    FROM jobs WHERE id = :job_id FOR NO KEY UPDATE
""")
_END = text("""
    WITH moved AS (
        UPDATE jobs
        SET state = :target, lease_until = NULL, error = CAST(:error AS jsonb),
            finished_at = clock_timestamp()
        WHERE id = :job_id AND state = :was
        RETURNING id, tenant_id, attempt
    ), landed AS (
        DELETE FROM in_flight USING moved WHERE in_flight.job_id = moved.id
    ), unboxed AS (
        DELETE FROM outbox USING moved WHERE outbox.job_id = moved.id
    ), unheld AS (
        DELETE FROM waiting USING moved WHERE waiting.job_id = moved.id
    )
    INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, detail)
    SELECT tenant_id, id, clock_timestamp(), :event, :was, :target, attempt, CAST(:error AS jsonb)
    FROM moved
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job as it stands until this transaction ends; `overdue` says that its deadline has passed."""

    state: State
    overdue: bool


def stand_still(tx: Connection, job_id: UUID) -> Standing | None:
    """Lock the job's row, waiting for whoever has it; None when there is no such job."""
    row = tx.execute(_LOCK, {"job_id": job_id}).one_or_none()
    return None if row is None else Standing(state=State(row.state), overdue=row.overdue)


def end_from_outside(
    tx: Connection, job_id: UUID, event: Event, error: JobError, *, was: State
) -> None:
    """Move a job that stands still to where `event` leads, out of the outbox and off the lists of those
    that wait or are in flight.
    """
    tx.execute(
        _END,
        {
            "job_id": job_id,
            "event": event.value,
            "was": was.value,
            "target": TRANSITIONS[event].target.value,
            "error": json.dumps(error),
        },
    )
