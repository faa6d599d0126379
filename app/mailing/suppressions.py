"""Addresses that are not written to: because no such mailbox exists, or because its owner unsubscribed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound
from app.ids import new_id
from app.mailing.letters import Topic

_ADD = text("""
    INSERT INTO mail_suppressions (id, tenant_id, address, topic, reason, detail)
    VALUES (:id, :tenant_id, :address, :topic, :reason, :detail)
    ON CONFLICT (tenant_id, address, topic) DO NOTHING
""")
# The one for all topics first: it is the stronger reason.
_FIND = text("""
    SELECT * FROM mail_suppressions
    WHERE tenant_id = :tenant_id AND address = :address
      AND (topic IS NULL OR topic = :topic)
    ORDER BY topic NULLS FIRST LIMIT 1
""")
_PAGE = text("""
    SELECT * FROM mail_suppressions
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
      AND (CAST(:address AS text) IS NULL OR address = :address)
    ORDER BY id DESC LIMIT :limit
""")
_REMOVE = text("DELETE FROM mail_suppressions WHERE tenant_id = :tenant_id AND id = :id")
_WITHDRAW = text("""
    DELETE FROM mail_suppressions
    WHERE tenant_id = :tenant_id AND address = :address AND topic = :topic
""")


class Reason(StrEnum):
    """Why an address is not written to."""

    REFUSED = "refused"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """`address` is in lower case; `topic` None means every mail; `detail` is the server's own words."""

    id: UUID
    tenant_id: UUID
    address: str
    topic: Topic | None
    reason: Reason
    detail: str | None
    created_at: datetime


def suppress(
    tx: Connection,
    tenant_id: UUID,
    address: str,
    *,
    detail: str,
    reason: Reason = Reason.REFUSED,
) -> None:
    """Write to the address no more; what is suppressed already stays as it was."""
    _add(tx, tenant_id, address, topic=None, reason=reason, detail=detail)


def unsubscribe(tx: Connection, tenant_id: UUID, address: str, topic: Topic) -> None:
    """No more mails of the topic; safe to repeat."""
    _add(tx, tenant_id, address, topic=topic, reason=Reason.UNSUBSCRIBED, detail=None)


def resubscribe(tx: Connection, tenant_id: UUID, address: str, topic: Topic) -> None:
    """The opposite."""
    names = {"tenant_id": tenant_id, "address": address.lower(), "topic": topic.value}
    tx.execute(_WITHDRAW, names)


def find(tx: Connection, tenant_id: UUID, address: str, topic: Topic | None) -> Suppression | None:
    """What stands against a mail of the topic to the address."""
    names = {"tenant_id": tenant_id, "address": address.lower(), "topic": topic}
    row = tx.execute(_FIND, names).one_or_none()
    return None if row is None else Suppression(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def page(
    tx: Connection,
    tenant_id: UUID,
    *,
    before: UUID | None = None,
    address: str | None = None,
    limit: int,
) -> list[Suppression]:
    """The tenant's, newest first, from behind the id `before`."""
    names = {
        "tenant_id": tenant_id,
        "before": before,
        "address": address.lower() if address else None,
        "limit": limit,
    }
    return [Suppression(**row._mapping) for row in tx.execute(_PAGE, names)]  # noqa: SLF001


def remove(tx: Connection, tenant_id: UUID, suppression_id: UUID) -> None:
    """The address may be written to again. Raises NotFound."""
    done = tx.execute(_REMOVE, {"tenant_id": tenant_id, "id": suppression_id})
    if done.rowcount == 0:
        raise NotFound(f"There is no suppression {suppression_id}.")


def _add(
    tx: Connection,
    tenant_id: UUID,
    address: str,
    *,
    topic: Topic | None,
    reason: Reason,
    detail: str | None,
) -> None:
    names = {
        "id": new_id(),
        "tenant_id": tenant_id,
        "address": address.lower(),
        "topic": topic,
        "reason": reason.value,
        "detail": detail,
    }
    tx.execute(_ADD, names)
