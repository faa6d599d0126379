"""Fair dispatch: what is due by tenant and kind, and the rules about whose turn it is"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False)
    )
    # What is there is not `ready`, and the dispatcher makes it so when it is due.
    op.add_column(
        "outbox", sa.Column("ready", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("outbox", sa.Column("kind", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE outbox SET kind = jobs.kind FROM jobs WHERE jobs.id = outbox.job_id")
    op.add_column(
        "outbox", sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.create_index(
        "ix_outbox_ready",
        "outbox",
        ["queue", "tenant_id", "kind", "priority", "run_at"],
        postgresql_where=sa.text("ready"),
    )
    op.create_index("ix_outbox_later", "outbox", ["run_at"], postgresql_where=sa.text("NOT ready"))
    op.drop_index("ix_outbox_queue_run_at", table_name="outbox")
    op.create_table(
        "dispatch_rules",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("weight", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "scope IN ('queue', 'kind', 'tenant', 'plan')", name=op.f("ck_dispatch_rules_scope")
        ),
        sa.CheckConstraint("max_running >= 0", name=op.f("ck_dispatch_rules_max_running")),
        sa.CheckConstraint("weight BETWEEN 1 AND 100", name=op.f("ck_dispatch_rules_weight")),
        sa.PrimaryKeyConstraint("scope", "name", name=op.f("pk_dispatch_rules")),
    )
    op.create_table(
        "backlog",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("ready", sa.BigInteger(), nullable=False),
        sa.Column("later", sa.BigInteger(), nullable=False),
        sa.Column("oldest", sa.DateTime(timezone=True), nullable=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "queue", name=op.f("pk_backlog")),
    )
    op.add_column("api_keys", sa.Column("role", sa.Text(), server_default="tenant", nullable=False))
    op.create_check_constraint(
        op.f("ck_api_keys_role"), "api_keys", "role IN ('tenant', 'operator')"
    )


def downgrade() -> None:
    op.execute("DELETE FROM api_keys WHERE role <> 'tenant'")
    op.drop_constraint(op.f("ck_api_keys_role"), "api_keys", type_="check")
    op.drop_column("api_keys", "role")
    op.drop_table("backlog")
    op.drop_table("dispatch_rules")
    op.create_index("ix_outbox_queue_run_at", "outbox", ["queue", "run_at"], unique=False)
    op.drop_index("ix_outbox_later", table_name="outbox")
    op.drop_index("ix_outbox_ready", table_name="outbox")
    op.drop_column("outbox", "priority")
    op.drop_column("outbox", "kind")
    op.drop_column("outbox", "ready")
    op.drop_column("jobs", "priority")
