"""Files on their way into the store by presigned parts, past the API."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, Timestamp


class Upload(Base):
    """A direct upload. Its id becomes the import's, and its object is the import's source.

    `open` until it is completed or given up; `completed` commits together with the import; `refused` says
    in `error` why the file could not be imported: it is deleted then. One that is given up has no row.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'completed', 'refused')", name="status"),
        CheckConstraint("size > 0 AND part_bytes > 0", name="size"),
        CheckConstraint("(status = 'refused') = (error IS NOT NULL)", name="error"),
        Index("ix_uploads_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    status: Mapped[str] = mapped_column(server_default="open")
    filename: Mapped[str]
    object_key: Mapped[str]
    multipart_id: Mapped[str]
    """The store's own name for the multipart upload."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Of the whole file in bytes, as announced; every part's size follows from it."""
    part_bytes: Mapped[int] = mapped_column(BigInteger)
    """Of every part but the last."""
    sha256: Mapped[str | None]
    """As announced, in hex. Checked by the import's plan, before anything is imported."""
    mapping: Mapped[Json]
    options: Mapped[Json]
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[Timestamp | None]
