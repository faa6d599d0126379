"""Dead letters of plain tasks: looked up to be sent once more, and closed when they were."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.burial import MAX_BODY_CHARS
from app.ledger.job_error import printable
from app.ledger.replay import FITS, DeadFilter

_SELECT = f"""
    SELECT d.id, d.kind, d.queue, d.body, d.headers FROM dead_letters d
    WHERE d.job_id IS NULL AND d.state = 'open' {FITS}
      AND (CAST(:after AS uuid) IS NULL OR d.id > :after)
    ORDER BY d.id LIMIT :limit
"""  # noqa: S608 - constants
_LOOK = text(_SELECT)
_LOCK = text(f"{_SELECT} FOR UPDATE SKIP LOCKED")
_CLOSE = text("""
    UPDATE dead_letters
    SET state = 'replayed', closed_at = clock_timestamp(), closed_reason = :reason
    WHERE id = ANY(:ids)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A message that belongs to no job, as it was kept."""

    id: UUID
    kind: str | None
    queue: str | None
    body: str | None
    headers: dict[str, Any] | None

    @property
    def whole(self) -> bool:
        """Whether all of its body was kept."""
        return self.body is not None and len(self.body) < MAX_BODY_CHARS


def open_strays(
    tx: Connection, chosen: DeadFilter, *, after: UUID | None, limit: int, lock: bool
) -> list[Stray]:
    """Those that fit, in the order of their ids, behind `after`."""
    facts = {**chosen.parameters(), "after": after, "limit": limit}
    rows = tx.execute(_LOCK if lock else _LOOK, facts)
    return [Stray(**row._mapping) for row in rows]  # noqa: SLF001


def close_strays(tx: Connection, ids: list[UUID], *, reason: str) -> None:
    """They were sent once more."""
    tx.execute(_CLOSE, {"ids": ids, "reason": printable(reason)})
