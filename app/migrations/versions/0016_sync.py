"""Connections to other systems"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _json(name: str, *, default: bool = True) -> sa.Column[object]:
    return sa.Column(
        name,
        postgresql.JSONB(),
        server_default=sa.text("'{}'::jsonb") if default else None,
        nullable=not default,
    )


def _connection(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["connection_id"],
        ["connections.id"],
        name=op.f(f"fk_{table}_connection_id_connections"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "connections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("push", sa.Boolean(), nullable=False),
        sa.Column("deletes", sa.Text(), nullable=False),
        sa.Column("per_second", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        _json("error", default=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        _moment("since"),
        _moment("seen_until"),
        _moment("synced_at"),
        _now("created_at"),
        _now("updated_at"),
        sa.CheckConstraint("state IN ('active', 'paused')", name=op.f("ck_connections_state")),
        sa.CheckConstraint("deletes IN ('keep', 'mirror')", name=op.f("ck_connections_deletes")),
        sa.CheckConstraint("per_second BETWEEN 1 AND 100", name=op.f("ck_connections_per_second")),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_connections_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_index("ix_connections_tenant_id_id", "connections", ["tenant_id", "id"])
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        _json("counts"),
        _json("error", default=False),
        _now("created_at"),
        _moment("started_at"),
        _moment("finished_at"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_sync_runs_state"),
        ),
        _connection("sync_runs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
    )
    op.create_index(
        "uq_sync_runs_connection_id",
        "sync_runs",
        ["connection_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index("ix_sync_runs_finished_at", "sync_runs", ["finished_at"])
    op.create_index("ix_circuit_changes_at", "circuit_changes", ["at"])
    op.create_index("ix_sync_runs_connection_id_id", "sync_runs", ["connection_id", "id"])
    _create_links()


def _create_links() -> None:
    op.create_table(
        "sync_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        _json("base"),
        _moment("seen"),
        _json("pending", default=False),
        sa.Column("changes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("gone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _now("updated_at"),
        _connection("sync_links"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_links")),
    )
    for column in ("remote_id", "contact_id"):
        op.create_index(
            f"uq_sync_links_connection_id_{column}",
            "sync_links",
            ["connection_id", column],
            unique=True,
        )
    op.create_index(
        "ix_sync_links_connection_id_pending",
        "sync_links",
        ["connection_id"],
        postgresql_where=sa.text("pending IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_circuit_changes_at", table_name="circuit_changes")
    for table in ("sync_links", "sync_runs", "connections"):
        op.drop_table(table)
