"""Jobs that wait in vain: one that they waited for has ended without success, and they are not to run
all the same.
"""

from typing import Any

from sqlalchemy import Connection, Row, text

from app.ledger.aftermath import Aftermaths, Ending, Subject, follow_end
from app.ledger.burial import record_death
from app.ledger.ending import end_from_outside, stand_still
from app.ledger.job_error import job_error
from app.ledger.prerequisites import Otherwise
from app.ledger.state import Event, State

PREREQUISITE_FAILED = "prerequisite_failed"
"""The code of a job that died because another had; the database's functions know it, too."""

_DOOMED = text("""
    SELECT j.id, j.tenant_id, j.kind, j.version, j.payload, j.traceparent
    FROM waiting w JOIN jobs j ON j.id = w.job_id
    WHERE w.doom IS NOT NULL ORDER BY w.job_id LIMIT 1
""")
_DOOM = text("""
    SELECT w.doom, e.on_id, e.ended FROM waiting w JOIN job_waits e ON e.job_id = w.job_id
    WHERE w.job_id = :job_id AND w.doom IS NOT NULL
      AND e.ended IN ('dead', 'cancelled') AND e.otherwise <> 'run'
    ORDER BY e.otherwise = w.doom DESC, e.on_id LIMIT 1
""")
_WORDS = {State.DEAD.value: "is dead", State.CANCELLED.value: "was cancelled"}


def end_next_doomed(tx: Connection, aftermaths: Aftermaths) -> bool:
    """End one job that waits in vain, as it asked for. False when there is none; one a transaction, as
    `expire_next`.
    """
    row = tx.execute(_DOOMED).one_or_none()
    if row is None:
        return False
    doom = tx.execute(_DOOM, {"job_id": row.id}).one_or_none()
    if doom is not None:
        subject = Subject(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        _end(tx, aftermaths, subject, doom)
    return True


def _end(tx: Connection, aftermaths: Aftermaths, subject: Subject, doom: Row[Any]) -> None:
    """Unless it waits in vain no more: a replay may have been faster."""
    why = f"Job {doom.on_id}, which it waited for, {_WORDS[doom.ended]}."
    dies = doom.doom == Otherwise.DIE
    error = job_error(PREREQUISITE_FAILED, why)
    state = State.DEAD if dies else State.CANCELLED
    with tx.begin_nested() as all_or_nothing:
        follow_end(tx, aftermaths, subject, Ending(state=state, error=error))
        job = stand_still(tx, subject.id)
        still = tx.execute(_DOOM, {"job_id": subject.id}).one_or_none()
        if job is None or job.state is not State.WAITING or still is None:
            all_or_nothing.rollback()
            return
        event = Event.GIVE_UP if dies else Event.CANCEL
        end_from_outside(tx, subject.id, event, error, was=State.WAITING)
        if dies:
            record_death(tx, subject.id, subject.kind, error)
