"""What language models were asked and paid for, what may be searched by meaning, and documents."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Numeric,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, TenantRef, Timestamp

Money = Numeric(20, 10)
"""In the currency of the settings' prices. A token may cost a ten-millionth."""


class Document(Base):
    """A text of the tenant's. `source_file_id` names an uploaded file that it was taken from; `source_part`
    is there where we took it, counts from 1, and goes with the file.
    """

    __tablename__ = "documents"
    __table_args__ = (
        Index("ix_documents_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_documents_source_file_id_source_part",
            "source_file_id",
            "source_part",
            unique=True,
            postgresql_where=text("source_file_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    title: Mapped[str]
    text: Mapped[str]
    source: Mapped[str | None]
    source_file_id: Mapped[UUID | None]
    source_part: Mapped[int | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class AiResult(Base):
    """An answer that was paid for, or that somebody is paying for until `claimed_until`.

    `hash` is the SHA-256 of the model and all that it was asked. `result` is a vector as 32-bit floats, or
    text. Only the tenant's own: a shared one would tell that another tenant has the same text.
    """

    __tablename__ = "ai_results"
    __table_args__ = (
        CheckConstraint("(result IS NULL) = (claimed_by IS NOT NULL)", name="claimed"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
        Index("ix_ai_results_created_at", "created_at"),
    )

    tenant_id: Mapped[TenantRef] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    result: Mapped[bytes | None] = mapped_column(LargeBinary)
    claimed_by: Mapped[UUID | None]
    claimed_until: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]


class AiSubject(Base):
    """A contact or document that can be found by meaning, as it was at `seen_at` (its `updated_at`)."""

    __tablename__ = "ai_subjects"
    __table_args__ = (CheckConstraint("kind IN ('contacts', 'documents')", name="kind"),)

    tenant_id: Mapped[TenantRef] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    space: Mapped[str]
    """The model, and its dimensions where they were asked for."""
    seen_at: Mapped[Timestamp]


class AiPassage(Base):
    """A piece of a subject's text, and whose hash's vector stands for it. The text itself isn't kept twice."""

    __tablename__ = "ai_passages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "kind", "subject_id"],
            ["ai_subjects.tenant_id", "ai_subjects.kind", "ai_subjects.id"],
            ondelete="CASCADE",
        ),
        Index("ix_ai_passages_tenant_id_kind_space", "tenant_id", "kind", "space"),
        Index("ix_ai_passages_tenant_id_kind_subject_id", "tenant_id", "kind", "subject_id"),
        Index("ix_ai_passages_tenant_id_hash", "tenant_id", "hash"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    kind: Mapped[str]
    subject_id: Mapped[UUID]
    space: Mapped[str]
    begin_at: Mapped[int]
    """Characters of the subject's text, from 0; `end_at` isn't included."""
    end_at: Mapped[int]
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AiLabel(Base):
    """What a contact or document was classified as, in the classification `name`."""

    __tablename__ = "ai_labels"
    __table_args__ = (
        CheckConstraint("kind IN ('contacts', 'documents')", name="kind"),
        Index("ix_ai_labels_tenant_id_hash", "tenant_id", "hash"),
    )

    tenant_id: Mapped[TenantRef] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    label: Mapped[str]
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Of model, labels, instruction and text: the same again is not asked again."""
    created_at: Mapped[CreatedAt]


class AiUsage(Base):
    """What a tenant used on a day (UTC). An unfinished request counts with its estimate."""

    __tablename__ = "ai_usage"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    purpose: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[Decimal] = mapped_column(Money)


class AiSpending(Base):
    """What a tenant spent in a month (UTC), with what is reserved for requests that are under way."""

    __tablename__ = "ai_spending"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    spent: Mapped[Decimal] = mapped_column(Money, server_default=text("0"))
