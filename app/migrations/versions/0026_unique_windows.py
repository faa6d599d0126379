"""Unique keys that lapse, and jobs that are put off by the next post (debounce)"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)
# Not before the update: such a trigger has every update of any job lock its row first.
_LAPSE = """
CREATE FUNCTION unique_key_lapses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET lapsed_key = unique_key, unique_key = NULL WHERE id = NEW.id;
    RETURN NULL;
END
$$
"""
_TRIGGER = """
CREATE TRIGGER unique_key_lapses AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.unique_until IS NOT NULL AND NEW.unique_key IS NOT NULL
      AND (NEW.state IN ('succeeded', 'dead', 'cancelled')
           OR (NEW.unique_until = 'published' AND NEW.state IN ('queued', 'running'))))
EXECUTE FUNCTION unique_key_lapses()
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("unique_until", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("unique_lapses_at", TIMESTAMP, nullable=True))
    op.add_column("jobs", sa.Column("lapsed_key", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("debounce_until", TIMESTAMP, nullable=True))
    op.execute(
        "ALTER TABLE jobs ADD CONSTRAINT ck_jobs_unique_until"
        " CHECK (unique_until IN ('published', 'ended')) NOT VALID"
    )
    op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_unique_until")
    op.execute(_LAPSE)
    op.execute(_TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER unique_key_lapses ON jobs")
    op.execute("DROP FUNCTION unique_key_lapses()")
    for column in ("debounce_until", "lapsed_key", "unique_lapses_at", "unique_until"):
        op.drop_column("jobs", column)
