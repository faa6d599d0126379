"""Whether a job's concurrency key was given for it, or made by its contract: a replay makes the latter anew"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given: sa.Column[bool] = sa.Column(
        "key_given", sa.Boolean(), server_default=sa.false(), nullable=False
    )
    op.add_column("jobs", given)


def downgrade() -> None:
    op.drop_column("jobs", "key_given")
