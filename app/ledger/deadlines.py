"""Jobs whose deadline passed before an attempt could begin."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.aftermath import Aftermaths
from app.ledger.burial import bury
from app.ledger.job_error import job_error
from app.ledger.state import TRANSITIONS, Event

_PASSED = text("""
    SELECT job_id FROM deadlines WHERE deadline <= clock_timestamp()
    ORDER BY deadline LIMIT 1 FOR UPDATE SKIP LOCKED
""")
# A job that is running may come back to wait for its next attempt: it is looked at again.
_LATER = text("""
    UPDATE deadlines SET deadline = clock_timestamp() + interval '5 seconds'
    FROM jobs WHERE jobs.id = deadlines.job_id AND deadlines.job_id = :job_id
      AND jobs.state IN ('waiting', 'scheduled', 'queued', 'running') AND jobs.deadline IS NOT NULL
""")
_DONE = text("DELETE FROM deadlines WHERE job_id = :job_id")


def expire_next(tx: Connection, aftermaths: Aftermaths) -> bool:
    """Look at one job whose deadline has passed; if it still waits it is dead now. False when there is
    none. One a transaction: two of them with several jobs each could deadlock over their incidents.
    """
    job_id: UUID | None = tx.execute(_PASSED).scalar_one_or_none()
    if job_id is None:
        return False
    error = job_error("deadline_passed", "The job's deadline passed before an attempt began.")
    sources = TRANSITIONS[Event.EXPIRE].sources
    expired = bury(tx, aftermaths, job_id, Event.EXPIRE, error, sources=sources)
    if expired or tx.execute(_LATER, {"job_id": job_id}).rowcount == 0:
        tx.execute(_DONE, {"job_id": job_id})
    return True
