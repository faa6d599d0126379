"""The log of mail, and the addresses that are not written to."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, TenantRef, Timestamp


class Mail(Base):
    """What became of a mail job, kept for as long as the retention says, whether the job is or not."""

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("job_id"),
        CheckConstraint(
            "status IN ('sent', 'waiting', 'refused', 'suppressed', 'unsubscribed', 'bounced')",
            name="status",
        ),
        Index("ix_mails_tenant_id_id", "tenant_id", "id"),
        Index("ix_mails_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    job_id: Mapped[UUID]
    template: Mapped[str]
    recipient: Mapped[str]
    subject: Mapped[str]
    message_id: Mapped[str]
    status: Mapped[str]
    reply_code: Mapped[int | None]
    answer: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
    sent_at: Mapped[Timestamp | None]
    bounce_status: Mapped[str | None]
    """What a server reported later, such as `5.1.1`; also of a delay, after which it stays `sent`."""
    bounce_answer: Mapped[str | None]
    bounced_at: Mapped[Timestamp | None]


class MailSuppression(Base):
    """`address` is in lower case; a null `topic` is every mail to it."""

    __tablename__ = "mail_suppressions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "address", "topic", postgresql_nulls_not_distinct=True),
        CheckConstraint("reason IN ('refused', 'unsubscribed', 'bounced')", name="reason"),
        Index("ix_mail_suppressions_tenant_id_id", "tenant_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    address: Mapped[str]
    topic: Mapped[str | None]
    reason: Mapped[str]
    detail: Mapped[str | None]
    created_at: Mapped[CreatedAt]
