"""Imports: targets, policies, layouts, chunks in flight, rejects in the object store, undo, retry, limits

Imports that are under way go on: chunks that were planned are read as what they were found to be then,
UTF-8 with commas, and have all been given their jobs; what was only queued is planned by this release.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())
TIMESTAMP = sa.DateTime(timezone=True)

_GO_ON = """
    UPDATE imports
    SET planned_at = clock_timestamp(), chunks_released = chunks_total,
        layout = jsonb_build_object(
            'kind', 'csv', 'container', 'plain', 'member', NULL, 'sheet', NULL,
            'encoding', 'utf-8', 'bom_bytes', 0, 'delimiter', ',', 'quote', '"', 'escape', NULL,
            'doubled', true, 'header_rows', '[1]'::jsonb, 'first_row', 2, 'columns', columns,
            'footer_rows', 0, 'doubts', '[]'::jsonb)
    WHERE chunks_total IS NOT NULL
"""


def upgrade() -> None:
    _imports()
    _chunks()
    _tenants()
    _uploads()
    _mappings()
    op.execute(_GO_ON)
    op.drop_table("rejected_rows")


def _add(table: str, *columns: sa.Column[object]) -> None:
    for column in columns:
        op.add_column(table, column)


def _zero(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.BigInteger) -> sa.Column[object]:
    return sa.Column(name, kind(), server_default="0", nullable=False)


def _imports() -> None:
    op.alter_column("imports", "sha256", existing_type=sa.Text(), nullable=True)
    _add(
        "imports",
        sa.Column("checksum_wanted", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), server_default="upload", nullable=False),
        sa.Column("retry_of", sa.Uuid(), nullable=True),
        sa.Column("target", sa.Text(), server_default="contacts", nullable=False),
        sa.Column("policy", sa.Text(), server_default="upsert", nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("all_or_nothing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("options", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("layout", JSONB, nullable=True),
        _zero("chunks_released", sa.Integer),
        sa.Column("planned_at", TIMESTAMP, nullable=True),
        sa.Column("ticked_at", TIMESTAMP, nullable=True),
        _zero("recent_rows", sa.Float),
        _zero("recent_seconds", sa.Float),
        sa.Column("undo_status", sa.Text(), nullable=True),
        _zero("undo_removed"),
        _zero("undo_restored"),
        _zero("undo_kept"),
        sa.Column("undo_released", sa.Integer(), server_default="-1", nullable=False),
        sa.Column("undo_error", JSONB, nullable=True),
        sa.Column("undo_started_at", TIMESTAMP, nullable=True),
        sa.Column("undo_finished_at", TIMESTAMP, nullable=True),
    )
    for name, values in (
        ("policy", "'upsert', 'insert', 'update'"),
        ("source", "'upload', 'direct', 'retry'"),
        ("undo_status", "'running', 'succeeded', 'failed'"),
    ):
        op.create_check_constraint(op.f(f"ck_imports_{name}"), "imports", f"{name} IN ({values})")
    op.create_index(
        "ix_imports_tenant_id_open",
        "imports",
        ["tenant_id"],
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )


def _chunks() -> None:
    _add(
        "import_chunks",
        sa.Column("filled", sa.Integer(), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        _zero("inserted", sa.Integer),
        _zero("updated", sa.Integer),
        _zero("unchanged", sa.Integer),
        _zero("rejected", sa.Integer),
        sa.Column("rejected_key", sa.Text(), nullable=True),
        sa.Column("rejected_rows", sa.LargeBinary(), nullable=True),
        sa.Column("rejected_from", sa.BigInteger(), nullable=True),
        sa.Column("rejected_to", sa.BigInteger(), nullable=True),
        sa.Column("changes_key", sa.Text(), nullable=True),
        sa.Column("applied_at", TIMESTAMP, nullable=True),
        sa.Column("inserted_ids", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("before", JSONB, nullable=True),
        sa.Column("undone_at", TIMESTAMP, nullable=True),
        sa.Column("kept", JSONB, nullable=True),
    )
    op.create_index(
        "ix_import_chunks_import_id_undoable",
        "import_chunks",
        ["import_id"],
        postgresql_where=sa.text("before IS NOT NULL OR inserted_ids IS NOT NULL"),
    )


def _tenants() -> None:
    _add(
        "tenants",
        sa.Column("import_max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("import_max_rows", sa.BigInteger(), nullable=True),
        sa.Column("import_max_open", sa.Integer(), nullable=True),
    )


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("multipart_id", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("mapping", JSONB, nullable=False),
        sa.Column("options", JSONB, nullable=False),
        sa.Column("error", JSONB, nullable=True),
        sa.Column("created_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", TIMESTAMP, nullable=True),
        sa.CheckConstraint(
            "status IN ('open', 'completed', 'refused')", name=op.f("ck_uploads_status")
        ),
        sa.CheckConstraint("size > 0 AND part_bytes > 0", name=op.f("ck_uploads_size")),
        sa.CheckConstraint(
            "(status = 'refused') = (error IS NOT NULL)", name=op.f("ck_uploads_error")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_uploads_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"])


def _mappings() -> None:
    op.create_table(
        "import_mappings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("fields", JSONB, nullable=False),
        sa.Column("updated_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_import_mappings_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "target", "header", name=op.f("pk_import_mappings")),
    )
