"""Mail: the log, suppressions, the trial's reminder"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
MAIL_SECRET = sa.text("gen_random_uuid()")


def upgrade() -> None:
    op.add_column(
        "tenants", sa.Column("mail_secret", sa.Uuid(), server_default=MAIL_SECRET, nullable=False)
    )
    op.add_column("tenants", sa.Column("trial_warned_for", sa.DateTime(timezone=True)))
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reply_code", sa.Integer()),
        sa.Column("answer", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status IN ('sent', 'waiting', 'refused', 'suppressed', 'unsubscribed')",
            name=op.f("ck_mails_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
        sa.UniqueConstraint("job_id", name=op.f("uq_mails_job_id")),
    )
    op.create_index("ix_mails_tenant_id_id", "mails", ["tenant_id", "id"])
    op.create_index("ix_mails_created_at", "mails", ["created_at"])
    op.create_table(
        "mail_suppressions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "reason IN ('refused', 'unsubscribed')", name=op.f("ck_mail_suppressions_reason")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_mail_suppressions_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_suppressions")),
        sa.UniqueConstraint(
            "tenant_id",
            "address",
            "topic",
            name=op.f("uq_mail_suppressions_tenant_id_address_topic"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_mail_suppressions_tenant_id_id", "mail_suppressions", ["tenant_id", "id"])


def downgrade() -> None:
    op.drop_table("mail_suppressions")
    op.drop_table("mails")
    op.drop_column("tenants", "trial_warned_for")
    op.drop_column("tenants", "mail_secret")
