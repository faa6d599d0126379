"""The log of mail: one row for each mail job, with what became of it. Bodies are not kept."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from app.ids import new_id

# What is sent stays sent: a record that comes late, of an attempt that lost its lease, changes nothing.
_WRITE = text("""
    INSERT INTO mails AS m (id, tenant_id, job_id, template, recipient, subject, message_id, status,
                            reply_code, answer, sent_at)
    VALUES (:id, :tenant_id, :job_id, :template, :recipient, :subject, :message_id, :status,
            :reply_code, :answer, CASE WHEN :status = 'sent' THEN clock_timestamp() END)
    ON CONFLICT (job_id) DO UPDATE
    SET recipient = excluded.recipient, subject = excluded.subject, status = excluded.status,
        reply_code = excluded.reply_code, answer = excluded.answer, sent_at = excluded.sent_at,
        updated_at = clock_timestamp()
    WHERE m.status NOT IN ('sent', 'bounced')
""")
_PAGE = text("""
    SELECT * FROM mails
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
      AND (CAST(:status AS text) IS NULL OR status = :status)
      AND (CAST(:template AS text) IS NULL OR template = :template)
      AND (CAST(:recipient AS text) IS NULL OR lower(recipient) = lower(:recipient))
    ORDER BY id DESC LIMIT :limit
""")
_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - created_at) FROM jobs WHERE id = :job_id"
)


class Status(StrEnum):
    """`waiting` for another try; `refused` for good; not even tried because the address is `suppressed`
    or its owner `unsubscribed`; `bounced` when it was taken and came back.
    """

    SENT = "sent"
    WAITING = "waiting"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be logged. `answer` is the server's, or our own reason."""

    tenant_id: UUID
    job_id: UUID
    template: str
    recipient: str
    subject: str
    message_id: str
    status: Status
    reply_code: int | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedMail(Entry):
    """An entry as it is kept."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    bounce_status: str | None
    bounce_answer: str | None
    bounced_at: datetime | None


def write(tx: Connection, entry: Entry) -> None:
    """Log it, in place of what was logged for the same job; but for a mail that was sent, which stays so."""
    names = {field: getattr(entry, field) for field in Entry.__dataclass_fields__}
    tx.execute(_WRITE, {**names, "id": new_id(), "status": entry.status.value})


def page(
    tx: Connection,
    tenant_id: UUID,
    *,
    before: UUID | None = None,
    status: Status | None = None,
    template: str | None = None,
    recipient: str | None = None,
    limit: int,
) -> list[LoggedMail]:
    """The tenant's mails, newest first, from behind the id `before`."""
    names = {
        "tenant_id": tenant_id,
        "before": before,
        "status": status,
        "template": template,
        "recipient": recipient,
        "limit": limit,
    }
    return [LoggedMail(**row._mapping) for row in tx.execute(_PAGE, names)]  # noqa: SLF001


def age_seconds(tx: Connection, job_id: UUID) -> float:
    """For how long the job of a mail has been there, by the database's clock."""
    return float(tx.execute(_AGE, {"job_id": job_id}).scalar_one())
