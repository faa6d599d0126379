"""Exports: files that were made for a tenant, or are being made."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class Export(Base):
    """One file. While it is made, `upload_key` and `upload_id` are the multipart upload that the newest
    attempt has open; once it is there, `object_key` is the file, until `expires_at`.
    """

    __tablename__ = "exports"
    __table_args__ = (
        CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("format IN ('csv', 'xlsx', 'parquet', 'pdf')", name="format"),
        CheckConstraint(
            "(status = 'succeeded') = (object_key IS NOT NULL)", name="object_key_once_there"
        ),
        Index("ix_exports_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_exports_tenant_id_open",
            "tenant_id",
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        Index("ix_exports_object_key", "object_key"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    job_id: Mapped[UUID]
    """The job that made it, or handed it out in parts. No foreign key: finished jobs are pruned before what
    they made.
    """
    target: Mapped[str]
    """A table's name, or `monthly_report`."""
    format: Mapped[str]
    wanted: Mapped[Json]
    """What of it: an order's filter and columns, or a report's month."""
    filename: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="queued")
    rows_done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    """Known once the attempt that runs has counted them."""
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    """Of the whole file, in hex; null for one that was made in parts."""
    parts: Mapped[list[dict[str, int | str]] | None] = mapped_column(JSONB)
    """`bytes` and `sha256` of each part, in their order, once such a file is there."""
    batch_id: Mapped[UUID | None]
    """Of the parts' jobs; null while it isn't made in parts."""
    attributes: Mapped[list[str] | None]
    """Those that have columns of their own, while it is made in parts."""
    whole: Mapped[bool] = mapped_column(server_default=text("false"))
    """It is to be made by one job: in parts it didn't work out."""
    object_key: Mapped[str | None]
    upload_key: Mapped[str | None]
    upload_id: Mapped[str | None]
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]
    expires_at: Mapped[Timestamp | None]


class ExportPart(Base):
    """A run of keys, from `first` (included) to `before` (excluded), of an export that is being made; null is no
    end. Once the part is in the store, `etag` says so. Gone when the export has ended.
    """

    __tablename__ = "export_parts"

    export_id: Mapped[UUID] = mapped_column(
        ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    first: Mapped[str | None]
    before: Mapped[str | None]
    etag: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
