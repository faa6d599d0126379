"""Whether a job's priority was given for it, or is its kind's: a replay takes the latter anew"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given: sa.Column[bool] = sa.Column(
        "priority_given", sa.Boolean(), server_default=sa.false(), nullable=False
    )
    op.add_column("jobs", given)


def downgrade() -> None:
    op.drop_column("jobs", "priority_given")
