"""What all processes know together about other people's servers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _times(name: str) -> sa.Column[object]:
    return sa.Column(
        name,
        postgresql.ARRAY(sa.DateTime(timezone=True)),
        server_default=sa.text("'{}'"),
        nullable=False,
    )


def _never(name: str) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        server_default=sa.text("'-infinity'"),
        nullable=False,
    )


def _key(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f(f"fk_{table}_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
    )


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        *_key("rate_limits"),
        sa.Column("per_window", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Float(), nullable=False),
        sa.Column("hold_seconds", sa.Float(), nullable=False),
        _times("pending"),
        _times("cooling"),
        _never("next_at"),
        _never("blocked_until"),
        _times("granted"),
        sa.Column("earliest", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("per_window BETWEEN 1 AND 500", name=op.f("ck_rate_limits_per_window")),
        sa.CheckConstraint(
            "window_seconds > 0 AND hold_seconds > window_seconds",
            name=op.f("ck_rate_limits_seconds"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "scope", name=op.f("pk_rate_limits")),
        postgresql_with={"fillfactor": "50", "autovacuum_vacuum_threshold": "1000"},
    )
    op.create_table(
        "circuit_breakers",
        *_key("circuit_breakers"),
        sa.Column("state", sa.Text(), server_default="closed", nullable=False),
        sa.Column("era", sa.Integer(), server_default="0", nullable=False),
        _times("failures"),
        sa.Column("trips", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('closed', 'open', 'half_open')", name=op.f("ck_circuit_breakers_state")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "scope", name=op.f("pk_circuit_breakers")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "circuit_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_key("circuit_changes"),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_circuit_changes")),
    )
    op.create_index(
        "ix_circuit_changes_tenant_id_scope_id", "circuit_changes", ["tenant_id", "scope", "id"]
    )


def downgrade() -> None:
    op.drop_table("circuit_changes")
    op.drop_table("circuit_breakers")
    op.drop_table("rate_limits")
