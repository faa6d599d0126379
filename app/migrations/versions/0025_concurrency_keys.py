"""Concurrency keys: jobs of a tenant that run one at a time, or one after the other"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_HOT = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}
_FINISHED = "('succeeded', 'dead', 'cancelled')"
# Whoever holds a key is a row: ready in the outbox, or in flight. So whatever takes that row away frees the
# key, in its own commit, and leaves word for the dispatcher, which alone lets others in. A dispatch moves the
# row from the one table to the other.
_LEFT = """
CREATE FUNCTION key_left() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'outbox' AND TG_OP = 'DELETE'
       AND EXISTS (SELECT FROM in_flight WHERE job_id = OLD.job_id) THEN
        RETURN NULL;
    END IF;
    INSERT INTO key_wakes (tenant_id, concurrency_key) VALUES (OLD.tenant_id, OLD.concurrency_key);
    PERFORM pg_notify('millrace_outbox', '');
    RETURN NULL;
END
$$
"""
# A job that is to run in order stands in line from its making to its end, and again when it is replayed.
_LINE = """
CREATE FUNCTION key_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.in_order THEN
        DELETE FROM key_lines
        WHERE tenant_id = OLD.tenant_id AND concurrency_key = OLD.concurrency_key AND job_id = OLD.id;
        INSERT INTO key_wakes (tenant_id, concurrency_key) VALUES (OLD.tenant_id, OLD.concurrency_key);
        PERFORM pg_notify('millrace_outbox', '');
    END IF;
    IF NEW.in_order AND NEW.state NOT IN ('succeeded', 'dead', 'cancelled') THEN
        INSERT INTO key_lines (tenant_id, concurrency_key, job_id)
        VALUES (NEW.tenant_id, NEW.concurrency_key, NEW.id);
    END IF;
    RETURN NULL;
END
$$
"""
_TRIGGERS = (
    """
    CREATE TRIGGER key_left AFTER DELETE ON in_flight FOR EACH ROW
    WHEN (OLD.concurrency_key IS NOT NULL) EXECUTE FUNCTION key_left()
    """,
    """
    CREATE TRIGGER key_left AFTER DELETE ON outbox FOR EACH ROW
    WHEN (OLD.ready AND OLD.concurrency_key IS NOT NULL) EXECUTE FUNCTION key_left()
    """,
    """
    CREATE TRIGGER key_put_off AFTER UPDATE OF ready ON outbox FOR EACH ROW
    WHEN (OLD.ready AND NOT NEW.ready AND OLD.concurrency_key IS NOT NULL)
    EXECUTE FUNCTION key_left()
    """,
    """
    CREATE TRIGGER key_line_begun AFTER INSERT ON jobs FOR EACH ROW
    WHEN (NEW.in_order) EXECUTE FUNCTION key_line()
    """,
    f"""
    CREATE TRIGGER key_line_moved AFTER UPDATE OF state, concurrency_key ON jobs FOR EACH ROW
    WHEN ((OLD.in_order OR NEW.in_order)
          AND ((OLD.state IN {_FINISHED}) <> (NEW.state IN {_FINISHED})
               OR OLD.concurrency_key IS DISTINCT FROM NEW.concurrency_key))
    EXECUTE FUNCTION key_line()
    """,
)
_COMPLETE = """
CREATE OR REPLACE FUNCTION flow_complete(of_batch uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    batch batches%ROWTYPE;
    ended text;
    made uuid[];
BEGIN
    SELECT * INTO batch FROM batches
    WHERE id = of_batch AND closed_at IS NOT NULL AND open_shards = 0 AND finished_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT CASE WHEN batch.cancelled_at IS NOT NULL THEN 'cancelled'
                WHEN sum(dead) > 0 THEN 'failed'
                WHEN sum(cancelled) > 0 THEN 'cancelled' ELSE 'succeeded' END
    INTO ended FROM batch_shards WHERE batch_id = of_batch;
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(batch.callbacks) AS c(
            moment text, kind text, version int, queue text, payload jsonb, max_attempts int{fields})
        WHERE moment IN ('completion', CASE ended WHEN 'succeeded' THEN 'success' ELSE 'failure' END)
    ), job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at,
                          traceparent{columns})
        SELECT uuidv7(), batch.tenant_id, kind, version, queue, 'scheduled', payload, max_attempts,
               clock_timestamp(), batch.traceparent{values}
        FROM wanted
        RETURNING id, tenant_id, queue, run_at
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM job
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'enqueue', 'scheduled', 0 FROM job
    )
    SELECT array_agg(id ORDER BY id) INTO made FROM job;
    UPDATE batches
    SET state = ended, finished_at = clock_timestamp(),
        callback_ids = callback_ids || coalesce(made, '{{}}')
    WHERE id = of_batch;
    IF made IS NOT NULL THEN
        PERFORM pg_notify('millrace_outbox', '');
    END IF;
END
$$
"""
_WITH_KEYS = _COMPLETE.format(
    fields=", concurrency_key text, concurrency_limit smallint, in_order boolean",
    columns=", concurrency_key, concurrency_limit, in_order",
    values=", concurrency_key, concurrency_limit, coalesce(in_order, false)",
)
_WITHOUT_KEYS = _COMPLETE.format(fields="", columns="", values="")


def upgrade() -> None:
    for table in ("jobs", "outbox"):
        op.add_column(table, sa.Column("concurrency_key", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("concurrency_limit", sa.SmallInteger(), nullable=True))
        op.add_column(table, _flag("in_order"))
    op.add_column("outbox", _flag("parked"))
    op.add_column("in_flight", sa.Column("concurrency_key", sa.Text(), nullable=True))
    _later("NOT ready AND NOT parked")
    op.create_index(
        "ix_outbox_parked",
        "outbox",
        ["tenant_id", "concurrency_key", "priority", "run_at"],
        postgresql_where=sa.text("parked AND NOT in_order"),
    )
    op.create_index(
        "ix_outbox_ready_key",
        "outbox",
        ["tenant_id", "concurrency_key"],
        postgresql_where=sa.text("ready AND concurrency_key IS NOT NULL"),
    )
    op.create_index(
        "ix_in_flight_key",
        "in_flight",
        ["tenant_id", "concurrency_key"],
        postgresql_where=sa.text("concurrency_key IS NOT NULL"),
    )
    op.create_table(
        "key_wakes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("concurrency_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_wakes")),
        postgresql_with=_HOT,
    )
    op.create_table(
        "key_lines",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("concurrency_key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "concurrency_key", "job_id", name=op.f("pk_key_lines")
        ),
        postgresql_with=_HOT,
    )
    for function in (_LEFT, _LINE, *_TRIGGERS, _WITH_KEYS):
        op.execute(function)


def downgrade() -> None:
    op.execute(_WITHOUT_KEYS)
    for name, table in (
        ("key_left", "in_flight"),
        ("key_left", "outbox"),
        ("key_put_off", "outbox"),
        ("key_line_begun", "jobs"),
        ("key_line_moved", "jobs"),
    ):
        op.execute(f"DROP TRIGGER {name} ON {table}")
    op.execute("DROP FUNCTION key_left()")
    op.execute("DROP FUNCTION key_line()")
    op.drop_table("key_lines")
    op.drop_table("key_wakes")
    op.drop_index("ix_in_flight_key", table_name="in_flight")
    op.drop_index("ix_outbox_ready_key", table_name="outbox")
    op.drop_index("ix_outbox_parked", table_name="outbox")
    _later("NOT ready")
    op.drop_column("in_flight", "concurrency_key")
    op.drop_column("outbox", "parked")
    for table in ("outbox", "jobs"):
        for column in ("in_order", "concurrency_limit", "concurrency_key"):
            op.drop_column(table, column)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)


def _later(where: str) -> None:
    op.drop_index("ix_outbox_later", table_name="outbox")
    op.create_index("ix_outbox_later", "outbox", ["run_at"], postgresql_where=sa.text(where))
