"""Attempts that came to nothing because a server was away: they cost none, and are put off for longer each time.

What one job alone brings about, an object at which the store breaks off or a statement that ends its connection, looks the
same. So an attempt is free if the server is found away when it is over, or if the attempt before it didn't end so as
well: such a job is free every second time, and dies of its attempts.
"""

from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.retry import RetryPolicy, backoff_seconds, dice

STORE_AWAY = "store_away"
DATABASE_AWAY = "database_away"

PAUSES = RetryPolicy(base_seconds=5.0, cap_seconds=300.0)

# In a row: since an attempt that ended otherwise.
_IN_A_ROW = text("""
    SELECT count(*) FROM job_history
    WHERE job_id = :job_id AND event IN ('snooze', 'rescue') AND detail->>'code' = :code
      AND attempt > coalesce((
          SELECT max(attempt) FROM job_history
          WHERE job_id = :job_id
            AND (event IN ('retry', 'die', 'bury', 'take_over')
                 OR event IN ('snooze', 'rescue') AND detail->>'code' IS DISTINCT FROM :code)), 0)
""")


def pause_seconds(
    tx: Connection, job_id: UUID, *, attempt: int, code: str, still_away: bool
) -> float | None:
    """For how long to put the job off after this attempt; None where the attempt counts."""
    in_a_row: int = tx.execute(_IN_A_ROW, {"job_id": job_id, "code": code}).scalar_one()
    if in_a_row and not still_away:
        return None
    return backoff_seconds(PAUSES, attempt=in_a_row + 1, rng=dice(job_id, attempt))
