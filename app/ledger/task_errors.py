"""Why a plain task failed, from the moment that it raised until its message comes as a dead letter."""

import json

from sqlalchemy import Connection, text

from app.ledger.job_error import JobError

_NOTE = text("""
    INSERT INTO task_errors (task_id, error) VALUES (:task_id, CAST(:error AS jsonb))
    ON CONFLICT (task_id) DO UPDATE SET error = excluded.error, created_at = clock_timestamp()
""")
_TAKE = text("DELETE FROM task_errors WHERE task_id = :task_id RETURNING error")


def note_error(tx: Connection, task_id: str, error: JobError) -> None:
    """Keep it for `take_error`; a later failure of the same task replaces it."""
    tx.execute(_NOTE, {"task_id": task_id, "error": json.dumps(error)})


def take_error(tx: Connection, task_id: str) -> JobError | None:
    """What was noted, once."""
    found: JobError | None = tx.execute(_TAKE, {"task_id": task_id}).scalar_one_or_none()
    return found
