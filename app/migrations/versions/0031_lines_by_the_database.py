"""Who is next of those that run in order is told by the database's clock, and not by those of the processes that enqueued"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# One that is replayed, or put off by a later post, keeps its place, as well as is known.
_LINE = """
CREATE OR REPLACE FUNCTION key_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.in_order THEN
        DELETE FROM key_lines WHERE {mine};
        INSERT INTO key_wakes (tenant_id, concurrency_key) VALUES (OLD.tenant_id, OLD.concurrency_key);
        PERFORM pg_notify('millrace_outbox', '');
    END IF;
    IF NEW.in_order AND NEW.state NOT IN ('succeeded', 'dead', 'cancelled') THEN
        INSERT INTO key_lines (tenant_id, concurrency_key, job_id{column})
        VALUES (NEW.tenant_id, NEW.concurrency_key, NEW.id{value});
    END IF;
    RETURN NULL;
END
$$
"""
_NOW = _LINE.format(
    mine="job_id = OLD.id",
    column=", made_at",
    value=", CASE TG_OP WHEN 'INSERT' THEN clock_timestamp() ELSE NEW.created_at END",
)
_BEFORE = _LINE.format(
    mine="tenant_id = OLD.tenant_id AND concurrency_key = OLD.concurrency_key AND job_id = OLD.id",
    column="",
    value="",
)
_BACKFILL = "UPDATE key_lines l SET made_at = j.created_at FROM jobs j WHERE j.id = l.job_id"
_KEY = "pk_key_lines"


def upgrade() -> None:
    made_at: sa.Column[object] = sa.Column(
        "made_at",
        sa.DateTime(timezone=True),
        server_default=sa.func.clock_timestamp(),
        nullable=False,
    )
    op.add_column("key_lines", made_at)
    op.execute(_BACKFILL)
    op.drop_constraint(op.f(_KEY), "key_lines")
    op.create_primary_key(op.f(_KEY), "key_lines", ["job_id"])
    place = ["tenant_id", "concurrency_key", "made_at", "job_id"]
    op.create_index("ix_key_lines_place", "key_lines", place)
    op.execute(_NOW)


def downgrade() -> None:
    op.execute(_BEFORE)
    op.drop_index("ix_key_lines_place", "key_lines")
    op.drop_constraint(op.f(_KEY), "key_lines")
    op.create_primary_key(op.f(_KEY), "key_lines", ["tenant_id", "concurrency_key", "job_id"])
    op.drop_column("key_lines", "made_at")
