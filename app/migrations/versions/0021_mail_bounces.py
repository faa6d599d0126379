"""Mails that were accepted and came back"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_STATUSES = "'sent', 'waiting', 'refused', 'suppressed', 'unsubscribed'"


def _replace(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), table)
    op.create_check_constraint(op.f(name), table, condition)


def upgrade() -> None:
    op.add_column("mails", sa.Column("bounce_status", sa.Text(), nullable=True))
    op.add_column("mails", sa.Column("bounce_answer", sa.Text(), nullable=True))
    op.add_column("mails", sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True))
    _replace("mails", "ck_mails_status", f"status IN ({_STATUSES}, 'bounced')")
    _replace(
        "mail_suppressions",
        "ck_mail_suppressions_reason",
        "reason IN ('refused', 'unsubscribed', 'bounced')",
    )


def downgrade() -> None:
    op.execute("UPDATE mail_suppressions SET reason = 'refused' WHERE reason = 'bounced'")
    op.execute("UPDATE mails SET status = 'sent' WHERE status = 'bounced'")
    _replace(
        "mail_suppressions", "ck_mail_suppressions_reason", "reason IN ('refused', 'unsubscribed')"
    )
    _replace("mails", "ck_mails_status", f"status IN ({_STATUSES})")
    for column in ("bounced_at", "bounce_answer", "bounce_status"):
        op.drop_column("mails", column)
