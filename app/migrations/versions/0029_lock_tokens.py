"""Locks: a name that nobody holds can be forgotten, and its tokens rise all the same"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE lock_tokens")
    op.execute("SELECT setval('lock_tokens', 1 + coalesce(max(token), 0), false) FROM locks")
    op.create_index(op.f("ix_locks_acquired_at"), "locks", ["acquired_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_locks_acquired_at"), "locks")
    op.execute("DROP SEQUENCE lock_tokens")
