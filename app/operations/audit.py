"""The audit log: who did what to which thing, when and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, text

from app.errors import Unprocessable
from app.ids import new_id
from app.ledger.job_error import printable
from app.models.audit import AuditEntry
from app.operations.actor import Actor

MIN_REASON_CHARS = 3
MAX_REASON_CHARS = 500

# Filters that an index serves come first; the others go through at most `window` of the newest entries.
_PAGE = text("""
    SELECT seen.*, t.name AS tenant FROM (
        SELECT * FROM audit_log
        WHERE (CAST(:before AS uuid) IS NULL OR id < :before)
          AND (CAST(:actor AS text) IS NULL OR actor = :actor)
          AND (CAST(:object_id AS text) IS NULL OR object_id = :object_id)
        ORDER BY id DESC LIMIT :window
    ) seen LEFT JOIN tenants t ON t.id = seen.tenant_id
    WHERE (CAST(:action AS text) IS NULL OR starts_with(seen.action, :action))
      AND (CAST(:since AS timestamptz) IS NULL OR seen.at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR seen.at < :until)
    ORDER BY seen.id DESC LIMIT :limit
""")
_ONE = text("""
    SELECT a.*, t.name AS tenant FROM audit_log a LEFT JOIN tenants t ON t.id = a.tenant_id
    WHERE a.id = :id
""")
WINDOW = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What an action is done to; `tenant_id` is whose it is, None where it is nobody's."""

    object: str
    id: str
    tenant_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log. `tenant` is the name of the thing's tenant, if it has one and that is still there."""

    id: UUID
    at: datetime
    actor: str
    key_id: UUID | None
    role: str
    via: str
    request_id: str | None
    action: str
    object: str
    object_id: str
    tenant_id: UUID | None
    tenant: str | None
    reason: str
    facts: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines; those that fit every part which is given. `action` is the beginning of its name."""

    actor: str | None = None
    action: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def record(
    tx: Connection,
    actor: Actor,
    action: str,
    thing: Thing,
    *,
    reason: str,
    facts: Mapping[str, Any] | None = None,
) -> UUID:
    """Add a line, in the transaction of what it tells of. `facts` hold figures and names, and nothing of
    what customers sent: every role reads them. Raises Unprocessable without a reason.
    """
    entry_id = new_id()
    tx.execute(
        insert(AuditEntry).values(
            id=entry_id,
            actor=actor.name,
            key_id=actor.key_id,
            role=actor.role.value,
            via=actor.via.value,
            request_id=actor.request_id,
            action=action,
            object=thing.object,
            object_id=thing.id,
            tenant_id=thing.tenant_id,
            reason=checked_reason(reason),
            facts=None if facts is None else dict(facts),
        )
    )
    return entry_id


def checked_reason(reason: str) -> str:
    """Without spaces around it. Raises Unprocessable when it says nothing, or too much."""
    said = printable(reason).strip()
    if not MIN_REASON_CHARS <= len(said) <= MAX_REASON_CHARS:
        raise Unprocessable(
            f"Say why, in {MIN_REASON_CHARS} to {MAX_REASON_CHARS} characters: it is kept in the audit log.",
            code="reason_needed",
        )
    return said


def page(
    tx: Connection, wanted: Wanted, *, before: UUID | None = None, limit: int, window: int = WINDOW
) -> list[Entry]:
    """The newest first, those before `before`; of filters without an index, among the newest `window`."""
    rows = tx.execute(
        _PAGE,
        {
            "actor": wanted.actor,
            "action": wanted.action,
            "object_id": wanted.object_id,
            "since": wanted.since,
            "until": wanted.until,
            "before": before,
            "limit": limit,
            "window": window,
        },
    )
    return [Entry(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def load(tx: Connection, entry_id: UUID) -> Entry | None:
    """One line; None when there is none of that id."""
    row = tx.execute(_ONE, {"id": entry_id}).one_or_none()
    return None if row is None else Entry(**row._mapping)  # noqa: SLF001
