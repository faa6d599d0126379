"""Upkeep: retention per tenant, causes of plain tasks, storage settings that keep tables small"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_HOT = "autovacuum_vacuum_cost_delay = 0"
_LARGE = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000"


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.CheckConstraint("days >= 1", name=op.f("ck_retention_days")),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_retention_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "what", name=op.f("pk_retention")),
    )
    op.create_table(
        "task_errors",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_errors")),
    )
    op.create_index("ix_task_errors_created_at", "task_errors", ["created_at"])
    op.create_index("ix_webhook_deliveries_finished_at", "webhook_deliveries", ["finished_at"])
    # None of these rewrites a table: rows that are there stay where they are.
    op.execute(f"ALTER TABLE jobs SET (fillfactor = 50, {_LARGE})")
    op.execute(f"ALTER TABLE job_history SET ({_LARGE})")
    op.execute(f"ALTER TABLE outbox SET ({_HOT})")
    op.execute(f"ALTER TABLE in_flight SET ({_HOT})")


def downgrade() -> None:
    for table in ("in_flight", "outbox"):
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_vacuum_cost_delay)")
    names = "autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold"
    op.execute(f"ALTER TABLE job_history RESET ({names})")
    op.execute(f"ALTER TABLE jobs RESET ({names})")
    op.execute("ALTER TABLE jobs SET (fillfactor = 80)")
    op.drop_index("ix_webhook_deliveries_finished_at", "webhook_deliveries")
    op.drop_table("task_errors")
    op.drop_table("retention")
