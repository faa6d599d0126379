"""The text of a file becomes documents"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "files",
        sa.Column("searchable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("documents", sa.Column("source_part", sa.Integer(), nullable=True))
    op.create_index(
        "ix_documents_source_file_id_source_part",
        "documents",
        ["source_file_id", "source_part"],
        unique=True,
        postgresql_where=sa.text("source_file_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_documents_source_file_id_source_part", "documents")
    op.drop_column("documents", "source_part")
    op.drop_column("files", "searchable")
