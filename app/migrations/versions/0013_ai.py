"""Documents; what language models were asked, what it cost, and what can be found by meaning"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# What pgvector needs is made by `millrace migrate` each time, after the migrations: a server may get the
# extension later, and the index depends on the model's dimensions.


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def _tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"],
        ["tenants.id"],
        name=op.f(f"fk_{table}_tenant_id_tenants"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.add_column("tenants", sa.Column("ai_monthly_budget", sa.Numeric(20, 10), nullable=True))
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("source_file_id", sa.Uuid(), nullable=True),
        _now("created_at"),
        _now("updated_at"),
        _tenant("documents"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
    )
    op.create_index("ix_documents_tenant_id_id", "documents", ["tenant_id", "id"])
    op.execute("""
        CREATE TRIGGER touch_updated_at BEFORE UPDATE ON documents FOR EACH ROW
        WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at) EXECUTE FUNCTION touch_updated_at()
    """)
    _results()
    _found_by_meaning()
    _books()


def _results() -> None:
    op.create_table(
        "ai_results",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        _now("created_at"),
        sa.CheckConstraint(
            "(result IS NULL) = (claimed_by IS NOT NULL)", name=op.f("ck_ai_results_claimed")
        ),
        sa.CheckConstraint(
            "(claimed_by IS NULL) = (claimed_until IS NULL)", name=op.f("ck_ai_results_claim")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "hash", name=op.f("pk_ai_results")),
    )
    op.create_index("ix_ai_results_created_at", "ai_results", ["created_at"])
    # Vectors don't compress, and a page of them that isn't out of line is read with every look at the hash.
    op.execute("ALTER TABLE ai_results ALTER COLUMN result SET STORAGE EXTERNAL")


def _found_by_meaning() -> None:
    op.create_table(
        "ai_subjects",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('contacts', 'documents')", name=op.f("ck_ai_subjects_kind")),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "id", name=op.f("pk_ai_subjects")),
    )
    op.create_table(
        "ai_passages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("begin_at", sa.Integer(), nullable=False),
        sa.Column("end_at", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "kind", "subject_id"],
            ["ai_subjects.tenant_id", "ai_subjects.kind", "ai_subjects.id"],
            name=op.f("fk_ai_passages_tenant_id_kind_subject_id_ai_subjects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_passages")),
    )
    for columns in (("kind", "space"), ("kind", "subject_id"), ("hash",)):
        name = "_".join(("ix_ai_passages_tenant_id", *columns))
        op.create_index(name, "ai_passages", ["tenant_id", *columns])
    op.create_table(
        "ai_labels",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("kind IN ('contacts', 'documents')", name=op.f("ck_ai_labels_kind")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "kind", "name", "subject_id", name=op.f("pk_ai_labels")
        ),
    )
    op.create_index("ix_ai_labels_tenant_id_hash", "ai_labels", ["tenant_id", "hash"])


def _books() -> None:
    op.create_table(
        "ai_usage",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Numeric(20, 10), nullable=False),
        _tenant("ai_usage"),
        sa.PrimaryKeyConstraint("tenant_id", "day", "purpose", "model", name=op.f("pk_ai_usage")),
    )
    op.create_table(
        "ai_spending",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("spent", sa.Numeric(20, 10), server_default=sa.text("0"), nullable=False),
        _tenant("ai_spending"),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("pk_ai_spending")),
    )


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS ai_vectors")
    for table in (
        "ai_spending",
        "ai_usage",
        "ai_labels",
        "ai_passages",
        "ai_subjects",
        "ai_results",
        "documents",
    ):
        op.drop_table(table)
    op.drop_column("tenants", "ai_monthly_budget")
