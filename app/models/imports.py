"""Imports, their chunks, and the column mappings that a tenant chose before."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Uuid

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class Import(Base):
    """One file on its way into its target's table, and maybe out of it again.

    Counts and progress are kept by the chunks, each adding its own in the commit that also holds its
    rows; `total` is all rows below the header, grows while the file is planned, and in the end
    `total = inserted + updated + unchanged + rejected`.
    """

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("policy IN ('upsert', 'insert', 'update')", name="policy"),
        CheckConstraint("source IN ('upload', 'direct', 'retry')", name="source"),
        CheckConstraint("undo_status IN ('running', 'succeeded', 'failed')", name="undo_status"),
        Index("ix_imports_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_imports_tenant_id_open",
            "tenant_id",
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    job_id: Mapped[UUID]
    """The first planning job. No foreign key: finished jobs are pruned before their imports are."""
    status: Mapped[str] = mapped_column(server_default="queued")
    filename: Mapped[str]
    object_key: Mapped[str]
    sha256: Mapped[str | None]
    """In hex, as it was computed on the way in; null where the file went past us."""
    checksum_wanted: Mapped[str | None]
    """What the sender says that the SHA-256 is, where nobody has checked it yet: the plan will."""
    source: Mapped[str] = mapped_column(server_default="upload")
    retry_of: Mapped[UUID | None]
    """The import whose rejected rows these are. `source` is 'retry' when they were taken as they are."""
    target: Mapped[str] = mapped_column(server_default="contacts")
    policy: Mapped[str] = mapped_column(server_default="upsert")
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    all_or_nothing: Mapped[bool] = mapped_column(server_default=text("false"))
    options: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    """ImportOptions, as they apply: what was asked, and what was decided about the values' formats."""
    layout: Mapped[Json | None]
    """How the file is read. Null in imports that an older release accepted: their plan finds it."""
    columns: Mapped[list[str]]
    """The header as sent."""
    fields: Mapped[list[str]]
    """The target's field of each column, or the empty string."""
    bytes_total: Mapped[int] = mapped_column(BigInteger)
    bytes_done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    chunks_total: Mapped[int | None]
    """How many are planned so far; null before the first."""
    batch_id: Mapped[UUID | None]
    """Of the chunks' jobs; null before there is one."""
    chunks_done: Mapped[int] = mapped_column(server_default="0")
    planned_at: Mapped[Timestamp | None]
    """When the whole file was planned."""
    total: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rows_done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    inserted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rejected: Mapped[int] = mapped_column(BigInteger, server_default="0")
    ticked_at: Mapped[Timestamp | None]
    recent_rows: Mapped[float] = mapped_column(server_default="0")
    """Rows of the last while: a sum that fades with the time, as `recent_seconds` does."""
    recent_seconds: Mapped[float] = mapped_column(server_default="0")
    error: Mapped[Json | None]
    undo_status: Mapped[str | None]
    undo_removed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    undo_restored: Mapped[int] = mapped_column(BigInteger, server_default="0")
    undo_kept: Mapped[int] = mapped_column(BigInteger, server_default="0")
    undo_batch_id: Mapped[UUID | None]
    undo_error: Mapped[Json | None]
    undo_started_at: Mapped[Timestamp | None]
    undo_finished_at: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class ImportChunk(Base):
    """A run of whole records. They are bytes `byte_start` (included) to `byte_end` (excluded) of the
    file; where the file can't be read from the middle, they lie in the object `object_key` as well.

    `first_row` is the number of the first record, as a spreadsheet numbers rows; `rows` counts all
    records, `filled` those that aren't blank (null in chunks that an older release planned). `superseded` holds the rows that repeat another row's
    key, as pairs of little-endian unsigned 32-bit numbers: (row, the row that is used).

    What it takes to undo the chunk: the rows that it wrote had `updated_at = applied_at`; it inserted
    `inserted_ids`, and `before` is what the others were.
    """

    __tablename__ = "import_chunks"
    __table_args__ = (
        Index(
            "ix_import_chunks_import_id_undoable",
            "import_id",
            postgresql_where=text("before IS NOT NULL OR inserted_ids IS NOT NULL"),
        ),
    )

    import_id: Mapped[UUID] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    byte_start: Mapped[int] = mapped_column(BigInteger)
    byte_end: Mapped[int] = mapped_column(BigInteger)
    first_row: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    filled: Mapped[int | None]
    object_key: Mapped[str | None]
    superseded: Mapped[bytes | None]
    inserted: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    rejected_key: Mapped[str | None]
    """The object with the rejected rows as CSV, without a header."""
    rejected_rows: Mapped[bytes | None]
    """What a retry must know about each of them: see app.imports.rejected."""
    rejected_from: Mapped[int | None] = mapped_column(BigInteger)
    rejected_to: Mapped[int | None] = mapped_column(BigInteger)
    changes_key: Mapped[str | None]
    """A dry run's object with what would change, as CSV, without a header."""
    applied_at: Mapped[Timestamp | None]
    inserted_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid()))
    before: Mapped[Json | None]
    done_at: Mapped[Timestamp | None]
    undone_at: Mapped[Timestamp | None]
    kept: Mapped[list[Json] | None] = mapped_column(JSONB())
    """Rows that undo left as they are: {"key", "reason"}."""


class ImportMapping(Base):
    """The mapping that a caller gave for a file with this header, for the next such file."""

    __tablename__ = "import_mappings"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    header: Mapped[str] = mapped_column(primary_key=True)
    """The fingerprint of the columns."""
    fields: Mapped[list[str]]
    """The field of each column, in the header's order."""
    updated_at: Mapped[CreatedAt]
