"""Imports, their chunks, and the rows that they had to reject."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class Import(Base):
    """One uploaded file on its way into the contacts.

    Counts and progress are kept by the chunks, each adding its own in the commit that also holds its
    rows; `total` is all rows below the header, and in the end
    `total = inserted + updated + unchanged + rejected`.
    """

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        Index("ix_imports_tenant_id_id", "tenant_id", "id"),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    job_id: Mapped[UUID]
    """The planning job. No foreign key: finished jobs are pruned before their imports are."""
    status: Mapped[str] = mapped_column(server_default="queued")
    filename: Mapped[str]
    object_key: Mapped[str]
    sha256: Mapped[str]
    columns: Mapped[list[str]]
    """The header as sent."""
    fields: Mapped[list[str]]
    """The contact field of each column, or the empty string where it goes to `attributes`."""
    bytes_total: Mapped[int] = mapped_column(BigInteger)
    bytes_done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    chunks_total: Mapped[int | None]
    chunks_done: Mapped[int] = mapped_column(server_default="0")
    total: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rows_done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    inserted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rejected: Mapped[int] = mapped_column(BigInteger, server_default="0")
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class ImportChunk(Base):
    """A run of whole rows of the file: bytes `byte_start` (included) to `byte_end` (excluded).

    `first_row` is the row number of its first row; the header is row 1. `superseded` holds the rows
    that a later row of the file replaces, as pairs of little-endian unsigned 32-bit row numbers:
    (row, the row that wins).
    """

    __tablename__ = "import_chunks"

    import_id: Mapped[UUID] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    byte_start: Mapped[int] = mapped_column(BigInteger)
    byte_end: Mapped[int] = mapped_column(BigInteger)
    first_row: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    superseded: Mapped[bytes | None]
    done_at: Mapped[Timestamp | None]


class RejectedRow(Base):
    """A row that was not imported, as it was sent, and why. `column` is the header's name, or null
    when the row as a whole is at fault.
    """

    __tablename__ = "rejected_rows"

    import_id: Mapped[UUID] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    row_number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tenant_id: Mapped[TenantRef]
    column: Mapped[str | None]
    code: Mapped[str]
    message: Mapped[str]
    cells: Mapped[list[str]]
