"""How quickly endpoints answer, and which attempts are under way"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "webhook_endpoints",
        sa.Column("pace", sa.Text(), server_default=sa.text("'unknown'"), nullable=False),
    )
    op.add_column(
        "webhook_endpoints",
        sa.Column(
            "pace_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("'-infinity'"),
            nullable=False,
        ),
    )
    op.add_column(
        "webhook_endpoints",
        sa.Column("timeouts", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_webhook_endpoints_pace"),
        "webhook_endpoints",
        "pace IN ('unknown', 'quick', 'slow')",
    )
    op.create_index(
        "ix_webhook_attempts_under_way",
        "webhook_attempts",
        ["at"],
        postgresql_where=sa.text("status IS NULL AND error IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_attempts_under_way", "webhook_attempts")
    op.drop_constraint(op.f("ck_webhook_endpoints_pace"), "webhook_endpoints")
    for column in ("timeouts", "pace_at", "pace"):
        op.drop_column("webhook_endpoints", column)
