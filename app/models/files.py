"""Files of customers, and the variants that are made of pictures."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class File(Base):
    """A file that was uploaded. `state` is what is known of it: `uploaded` where there is no virus scanner,
    else `scanning` until it is `clean` or `infected`; `failed` when it can't be scanned or decoded, which
    `error` explains. Of an infected one the row alone is kept.
    """

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint(
            "state IN ('uploaded', 'scanning', 'clean', 'infected', 'failed')", name="state"
        ),
        CheckConstraint(
            "text_state IN ('waiting', 'done', 'no_text', 'failed')", name="text_state"
        ),
        Index("ix_files_tenant_id_id", "tenant_id", "id"),
        Index("ix_files_object_key", "object_key", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    job_id: Mapped[UUID | None]
    """Its first job; null when nothing was to be done. No foreign key: jobs are pruned."""
    state: Mapped[str]
    filename: Mapped[str]
    object_key: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    type: Mapped[str]
    """The media type, by content."""
    width: Mapped[int | None]
    height: Mapped[int | None]
    """Of a picture, upright; null until it is decoded."""
    text_state: Mapped[str | None]
    """Null where no text was asked for."""
    text_key: Mapped[str | None]
    text_chars: Mapped[int | None]
    text_truncated: Mapped[bool | None]
    text_excerpt: Mapped[str | None]
    searchable: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether its text becomes documents that are found by meaning."""
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    scanned_at: Mapped[Timestamp | None]


class FileVariant(Base):
    """A variant of a picture: what was asked for and, once it is `done`, what came out."""

    __tablename__ = "file_variants"
    __table_args__ = (CheckConstraint("state IN ('waiting', 'done', 'failed')", name="state"),)

    file_id: Mapped[UUID] = mapped_column(
        ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    position: Mapped[int]
    """In the order in which they were asked for."""
    spec: Mapped[Json]
    state: Mapped[str]
    width: Mapped[int | None]
    height: Mapped[int | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    object_key: Mapped[str | None]
