"""Schedules, their slots, and what a tenant's clock and plan say"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("tenants", sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False))
    op.add_column("tenants", sa.Column("plan", sa.Text(), server_default="active", nullable=False))
    op.add_column("tenants", sa.Column("trial_ends_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "tenants",
        sa.Column("defaults_version", sa.Integer(), server_default="0", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_tenants_plan"), "tenants", "plan IN ('trial', 'active', 'expired')"
    )
    op.create_check_constraint(
        op.f("ck_tenants_trial_ends"), "tenants", "plan <> 'trial' OR trial_ends_at IS NOT NULL"
    )
    op.create_index(
        "ix_tenants_trial_ends_at",
        "tenants",
        ["trial_ends_at"],
        unique=False,
        postgresql_where=sa.text("plan = 'trial'"),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_slot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "catch_up IN ('none', 'last', 'all')", name=op.f("ck_schedules_catch_up")
        ),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (next_at IS NOT NULL)",
            name=op.f("ck_schedules_next_unless_paused"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_schedules_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_schedules_tenant_id_name")),
    )
    op.create_index("ix_schedules_tenant_id_id", "schedules", ["tenant_id", "id"], unique=False)
    op.create_index(
        "ix_schedules_next_at",
        "schedules",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_table(
        "schedule_slots",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("slot_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["schedules.id"],
            name=op.f("fk_schedule_slots_schedule_id_schedules"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("schedule_id", "slot_at", name=op.f("pk_schedule_slots")),
    )
    op.create_index("ix_schedule_slots_job_id", "schedule_slots", ["job_id"], unique=False)
    op.create_index("ix_schedule_slots_slot_at", "schedule_slots", ["slot_at"], unique=False)
    # The tenant of the product's own jobs. A customer may have any name but this one's.
    op.execute(
        "INSERT INTO tenants (id, name, email) VALUES"
        " ('00000000-0000-0000-0000-000000000000', '(system)', 'system@millrace.invalid')"
    )


def downgrade() -> None:

    op.execute("DELETE FROM tenants WHERE id = '00000000-0000-0000-0000-000000000000'")
    op.drop_table("schedule_slots")
    op.drop_table("schedules")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_index("ix_tenants_trial_ends_at", table_name="tenants")
    op.drop_column("tenants", "defaults_version")
    op.drop_constraint(op.f("ck_tenants_trial_ends"), "tenants")
    op.drop_column("tenants", "trial_ends_at")
    op.drop_constraint(op.f("ck_tenants_plan"), "tenants")
    op.drop_column("tenants", "plan")
    op.drop_column("tenants", "timezone")
