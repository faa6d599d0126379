"""A job's place in the line of its key follows `in_order`, which a post that puts it off may change"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_FINISHED = "('succeeded', 'dead', 'cancelled')"
_TRIGGER = """
CREATE OR REPLACE TRIGGER key_line_moved AFTER UPDATE OF state, concurrency_key{column} ON jobs
FOR EACH ROW
WHEN ((OLD.in_order OR NEW.in_order)
      AND ((OLD.state IN {finished}) <> (NEW.state IN {finished}){differs}
           OR OLD.concurrency_key IS DISTINCT FROM NEW.concurrency_key))
EXECUTE FUNCTION key_line()
"""
_MOVED = _TRIGGER.format(
    finished=_FINISHED, column=", in_order", differs="\n           OR OLD.in_order <> NEW.in_order"
)
_MOVED_BEFORE = _TRIGGER.format(finished=_FINISHED, column="", differs="")
# A place whose job has ended, or no longer runs in order, keeps all behind it waiting for ever.
_STALE = f"""
WITH stale AS (
    DELETE FROM key_lines l
    WHERE NOT EXISTS (SELECT FROM jobs j
                      WHERE j.id = l.job_id AND j.in_order AND j.state NOT IN {_FINISHED}
                        AND j.concurrency_key = l.concurrency_key)
    RETURNING tenant_id, concurrency_key
)
INSERT INTO key_wakes (tenant_id, concurrency_key)
SELECT DISTINCT tenant_id, concurrency_key FROM stale
"""  # noqa: S608 - constants
# One without a place is never let in. It can't have been sent, and so it is in the outbox.
_MISSING = """
WITH missing AS (
    INSERT INTO key_lines (tenant_id, concurrency_key, job_id)
    SELECT j.tenant_id, j.concurrency_key, j.id FROM outbox o JOIN jobs j ON j.id = o.job_id
    WHERE j.in_order AND j.state = 'scheduled'
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, concurrency_key
)
INSERT INTO key_wakes (tenant_id, concurrency_key)
SELECT DISTINCT tenant_id, concurrency_key FROM missing
"""


def upgrade() -> None:
    op.execute(_MOVED)
    op.execute(_STALE)
    op.execute(_MISSING)


def downgrade() -> None:
    op.execute(_MOVED_BEFORE)
