"""Chunks of imports are jobs of a batch"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Imports and undos that are under way: what was to get its job from the end of another chunk gets it here.
_HAND_OUT = """
    WITH job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at)
        SELECT uuidv7(), i.tenant_id, '{kind}', 1, 'default', 'scheduled',
               jsonb_build_object('import_id', i.id, 'index', c.index), 5, clock_timestamp()
        FROM imports i JOIN import_chunks c ON c.import_id = i.id
        WHERE {left}
        RETURNING id, tenant_id, queue, run_at
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM job
    )
    INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
    SELECT tenant_id, id, clock_timestamp(), 'enqueue', 'scheduled', 0 FROM job
"""
_TO_DO = """
    i.status = 'running' AND c.done_at IS NULL AND c.index >= i.chunks_released
    AND NOT (i.all_or_nothing AND NOT i.dry_run)
"""
_TO_UNDO = """
    i.undo_status = 'running' AND c.done_at IS NOT NULL AND c.undone_at IS NULL
    AND c.index > i.undo_released AND c.inserted + c.updated > 0
"""


def upgrade() -> None:
    op.execute(_HAND_OUT.format(kind="import.chunk", left=_TO_DO))
    op.execute(_HAND_OUT.format(kind="import.undo_chunk", left=_TO_UNDO))
    for column in ("batch_id", "undo_batch_id"):
        op.add_column("imports", sa.Column(column, sa.Uuid(), nullable=True))
    for column in ("chunks_released", "undo_released"):
        op.drop_column("imports", column)


def downgrade() -> None:
    for column, default in (("chunks_released", "0"), ("undo_released", "-1")):
        op.add_column(
            "imports", sa.Column(column, sa.Integer(), server_default=default, nullable=False)
        )
    op.execute("UPDATE imports SET chunks_released = coalesce(chunks_total, 0)")
    op.execute("UPDATE imports SET undo_released = coalesce(chunks_total, 0) - 1")
    for column in ("undo_batch_id", "batch_id"):
        op.drop_column("imports", column)
