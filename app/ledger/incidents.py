"""Deaths of one cause are one incident: found by a fingerprint, counted, closed and opened again."""

import hashlib
import re
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound
from app.ids import new_id
from app.ledger.job_error import JobError, printable

_COUNT = text("""
    INSERT INTO incidents AS i
        (id, fingerprint, kind, code, error_type, frame, message, count, first_seen, last_seen)
    VALUES (:id, :fingerprint, :kind, :code, :error_type, :frame, :message, 1,
            clock_timestamp(), clock_timestamp())
    ON CONFLICT (fingerprint) DO UPDATE
    SET count = i.count + 1, last_seen = clock_timestamp(), message = excluded.message,
        (state, reopened, closed_at, ignored_until) = (
            SELECT CASE WHEN back THEN 'open' ELSE i.state END, i.reopened + CAST(back AS int),
                   CASE WHEN NOT back THEN i.closed_at END,
                   CASE WHEN NOT back THEN i.ignored_until END
            FROM (SELECT i.state = 'resolved'
                         OR (i.state = 'ignored'
                             AND coalesce(i.ignored_until < clock_timestamp(), true))) AS b(back))
    RETURNING id
""")
_CLOSE = text("""
    UPDATE incidents
    SET state = :state, note = :note, closed_at = clock_timestamp(),
        ignored_until = clock_timestamp() + make_interval(days => CAST(:days AS int))
    WHERE id = :id
    RETURNING id
""")
_NUMBERS = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+", re.IGNORECASE)
MAX_MESSAGE_CHARS = 500


def fingerprint(
    kind: str | None, code: str, *, error_type: str | None, frame: str | None, message: str
) -> str:
    """The same for every death of one cause, over releases and over the data that it met.

    That is kind, code, exception and the place that raised it; where no code was running, the message
    stands for the place, with its numbers and ids left out.
    """
    place = frame or _NUMBERS.sub("#", message)
    parts = (kind or "", code, error_type or "", place)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def count_death(tx: Connection, kind: str | None, error: JobError) -> UUID:
    """Add a death to its incident and return that. An incident that was resolved is open again, one that
    is ignored once its time is over.
    """
    code, message = error["code"], error["message"]
    error_type, frame = error.get("type"), error.get("frame")
    found: UUID = tx.execute(
        _COUNT,
        {
            "id": new_id(),
            "fingerprint": fingerprint(
                kind, code, error_type=error_type, frame=frame, message=message
            ),
            "kind": kind,
            "code": code,
            "error_type": error_type,
            "frame": frame,
            "message": message[:MAX_MESSAGE_CHARS],
        },
    ).scalar_one()
    return found


def resolve(tx: Connection, incident_id: UUID, *, note: str) -> None:
    """It is mended; the next death of this cause opens it again. Raises NotFound."""
    _close(tx, incident_id, "resolved", note, None)


def ignore(tx: Connection, incident_id: UUID, *, note: str, days: int) -> None:
    """Nobody wants to hear of it for so many days; a death after that opens it again. Raises NotFound."""
    _close(tx, incident_id, "ignored", note, days)


def _close(tx: Connection, incident_id: UUID, state: str, note: str, days: int | None) -> None:
    closed = tx.execute(
        _CLOSE, {"id": incident_id, "state": state, "note": printable(note), "days": days}
    )
    if closed.one_or_none() is None:
        raise NotFound(f"There is no incident {incident_id}.")
