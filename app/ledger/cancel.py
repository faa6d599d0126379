"""Cancel a job, or have a waiting one begin now: a person's wish, kept by the ledger and so by every restart."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import Conflict, NotFound
from app.ledger.aftermath import Aftermaths, Ending, Subject, follow_end
from app.ledger.ending import end_from_outside, stand_still
from app.ledger.job_error import job_error
from app.ledger.spreading import spread_from_job
from app.ledger.state import FINISHED, Event, State

_SUBJECT = text("""
    SELECT id, tenant_id, kind, version, payload, traceparent, state
    FROM jobs
    WHERE id = :job_id AND (CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id)
""")
_HASTEN = text("""
    WITH moved AS (
        UPDATE jobs SET run_at = clock_timestamp()
        WHERE id = :job_id AND state = 'scheduled' AND run_at > clock_timestamp()
        RETURNING id, tenant_id, attempt, run_at
    ), boxed AS (
        UPDATE outbox SET run_at = moved.run_at FROM moved WHERE outbox.job_id = moved.id
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'hasten', 'scheduled', 'scheduled', attempt
        FROM moved
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM moved
""")
_PATIENCE = text("SET LOCAL lock_timeout = '3s'")


def cancel(
    tx: Connection, aftermaths: Aftermaths, tenant_id: UUID | None, job_id: UUID, *, reason: str
) -> None:
    """End the job as cancelled, and from the commit of this on its children that have not ended, step by
    step. A handler that runs it now learns of it at its next check, and commits nothing more. A job that
    is cancelled already stays so. `tenant_id` None is any tenant's.

    Raises NotFound, and Conflict when the job has ended otherwise. A handler that has written to the
    job's row in its transaction (`ctx.progress`) makes this wait for it: an OperationalError after 3 s.
    """
    be_patient(tx)
    whose = {"job_id": job_id, "tenant_id": tenant_id}
    row = tx.execute(_SUBJECT, whose).one_or_none()
    if row is None:
        raise missing(job_id)
    state = State(row.state)
    if state not in FINISHED:
        facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        del facts["state"]
        if _end(tx, aftermaths, Subject(**facts), reason):
            return
        state = State(tx.execute(_SUBJECT, whose).one().state)  # somebody was faster
    if state is not State.CANCELLED:
        raise Conflict(f"Job {job_id} is {state}; only a job that has not ended can be cancelled.")


def hasten(tx: Connection, job_id: UUID) -> None:
    """Have a job that waits for its time begin now; nothing happens when it is due already.

    The job must stand still: a retry that is just being committed has an outbox row to come.
    """
    tx.execute(_HASTEN, {"job_id": job_id})


def be_patient(tx: Connection) -> None:
    """Wait for no row lock longer than 3 s, for the rest of the transaction."""
    tx.execute(_PATIENCE)


def missing(job_id: UUID) -> NotFound:
    """What to raise for a job that isn't there, or is another tenant's."""
    return NotFound(f"There is no job {job_id}.")


def _end(tx: Connection, aftermaths: Aftermaths, subject: Subject, reason: str) -> bool:
    """False, and nothing done, when the job has ended meanwhile."""
    error = job_error("cancelled", reason)
    with tx.begin_nested() as all_or_nothing:
        spared = follow_end(tx, aftermaths, subject, Ending(state=State.CANCELLED, error=error))
        job = stand_still(tx, subject.id)
        if job is not None and job.state not in FINISHED:
            end_from_outside(tx, subject.id, Event.CANCEL, error, was=job.state)
            spread_from_job(tx, subject.tenant_id, subject.id, reason=reason, spared=spared)
            return True
        all_or_nothing.rollback()
    return False
