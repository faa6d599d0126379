"""Jobs that wait for others, batches, and cancels that reach what a job has started"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STATES = "'scheduled', 'queued', 'running', 'succeeded', 'dead', 'cancelled'"
_SMALL_AND_HOT = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
}

# Triggers, so that whatever ends a job, of this release or of the one before, releases what waits for it in
# the same commit and in the same round trip; and functions, because each of their statements sees what was
# committed before it began: the row that all meet at is locked first, and what is behind it looked at then.
# Locks are taken in one order: jobs, shards, batch, jobs that wait.
_RELEASE = """
CREATE FUNCTION flow_release(ready uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('millrace_outbox', '');
    WITH freed AS (
        DELETE FROM waiting WHERE job_id = ANY(ready) RETURNING job_id
    ), moved AS (
        UPDATE jobs SET state = 'scheduled', run_at = greatest(jobs.run_at, clock_timestamp())
        FROM freed WHERE jobs.id = freed.job_id AND jobs.state = 'waiting'
        RETURNING jobs.id, jobs.tenant_id, jobs.queue, jobs.run_at, jobs.attempt
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM moved
    )
    INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
    SELECT tenant_id, id, clock_timestamp(), 'release', 'waiting', 'scheduled', attempt FROM moved;
END
$$
"""
# A job that somebody holds is skipped: its holder ends it, and then calls this.
_FILL = """
CREATE FUNCTION flow_fill(of_batch uuid, of_shard int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    room int;
    ready uuid[];
BEGIN
    SELECT least(share - placed, open - placed) INTO room FROM batch_shards
    WHERE batch_id = of_batch AND shard = of_shard AND share IS NOT NULL
    FOR NO KEY UPDATE;
    IF room IS NULL OR room <= 0 THEN
        RETURN 0;
    END IF;
    SELECT array_agg(id) INTO ready FROM (
        SELECT j.id FROM waiting w JOIN jobs j ON j.id = w.job_id
        WHERE w.batch_id = of_batch AND w.shard = of_shard AND j.state = 'waiting'
        ORDER BY w.job_id LIMIT room
        FOR NO KEY UPDATE OF j SKIP LOCKED) chosen;
    IF ready IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE batch_shards SET placed = placed + cardinality(ready)
    WHERE batch_id = of_batch AND shard = of_shard;
    PERFORM flow_release(ready);
    RETURN cardinality(ready);
END
$$
"""
_COMPLETE = """
CREATE FUNCTION flow_complete(of_batch uuid) RETURNS void LANGUAGE plpgsql AS $$
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
            moment text, kind text, version int, queue text, payload jsonb, max_attempts int)
        WHERE moment IN ('completion', CASE ended WHEN 'succeeded' THEN 'success' ELSE 'failure' END)
    ), job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at,
                          traceparent)
        SELECT uuidv7(), batch.tenant_id, kind, version, queue, 'scheduled', payload, max_attempts,
               clock_timestamp(), batch.traceparent
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
        callback_ids = callback_ids || coalesce(made, '{}')
    WHERE id = of_batch;
    IF made IS NOT NULL THEN
        PERFORM pg_notify('millrace_outbox', '');
    END IF;
END
$$
"""
_ENDED = """
CREATE FUNCTION flow_job_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    spot batch_shards%ROWTYPE;
    shards_left int;
    ready uuid[];
BEGIN
    IF NEW.batch_id IS NOT NULL THEN
        UPDATE batch_shards
        SET open = open - 1,
            succeeded = succeeded + (NEW.state = 'succeeded')::int,
            dead = dead + (NEW.state = 'dead')::int,
            cancelled = cancelled + (NEW.state = 'cancelled')::int,
            placed = placed - (share IS NOT NULL AND OLD.state <> 'waiting')::int
        WHERE batch_id = NEW.batch_id AND shard = NEW.batch_shard
        RETURNING * INTO spot;
        IF spot.share > spot.placed AND spot.open > spot.placed THEN
            PERFORM flow_fill(NEW.batch_id, NEW.batch_shard);
        END IF;
        IF spot.open = 0 THEN
            UPDATE batches SET open_shards = open_shards - 1 WHERE id = NEW.batch_id
            RETURNING open_shards INTO shards_left;
            IF shards_left = 0 THEN
                PERFORM flow_complete(NEW.batch_id);
            END IF;
        END IF;
    END IF;
    IF NEW.awaited THEN
        PERFORM 1 FROM jobs
        WHERE id IN (SELECT job_id FROM job_waits WHERE on_id = NEW.id AND ended IS NULL)
        ORDER BY id FOR NO KEY UPDATE;
        WITH edge AS (
            UPDATE job_waits SET ended = NEW.state WHERE on_id = NEW.id AND ended IS NULL
            RETURNING job_id, CASE WHEN NEW.state <> 'succeeded' AND otherwise <> 'run'
                                   THEN otherwise END AS doom
        ), counted AS (
            UPDATE waiting w SET waits_for = w.waits_for - 1, doom = coalesce(w.doom, edge.doom)
            FROM edge WHERE w.job_id = edge.job_id
            RETURNING w.job_id, w.waits_for, w.doom
        )
        SELECT array_agg(job_id) INTO ready FROM counted WHERE waits_for = 0 AND doom IS NULL;
        IF ready IS NOT NULL THEN
            PERFORM flow_release(ready);
        END IF;
    END IF;
    RETURN NULL;
END
$$
"""
# What died only because this job had died waits again, and so on down the line.
_REOPENED = """
CREATE FUNCTION flow_job_reopened() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_open int;
BEGIN
    IF NEW.batch_id IS NOT NULL THEN
        UPDATE batch_shards
        SET open = open + 1, dead = dead - 1,
            placed = placed + (share IS NOT NULL AND NEW.state <> 'waiting')::int
        WHERE batch_id = NEW.batch_id AND shard = NEW.batch_shard
        RETURNING open INTO now_open;
        IF now_open = 1 THEN
            UPDATE batches SET open_shards = open_shards + 1, state = 'running', finished_at = NULL
            WHERE id = NEW.batch_id;
        END IF;
    END IF;
    IF NEW.awaited THEN
        PERFORM 1 FROM jobs
        WHERE id IN (SELECT job_id FROM job_waits WHERE on_id = NEW.id AND ended = 'dead')
        ORDER BY id FOR NO KEY UPDATE;
        UPDATE job_waits e SET ended = NULL
        FROM jobs j
        WHERE e.on_id = NEW.id AND e.ended = 'dead' AND j.id = e.job_id
          AND (j.state = 'waiting'
               OR (j.state = 'dead' AND j.error ->> 'code' = 'prerequisite_failed'));
        WITH edges AS (
            SELECT job_id, count(*) FILTER (WHERE ended IS NULL) AS open,
                   min(otherwise) FILTER (WHERE ended IN ('dead', 'cancelled')
                                          AND otherwise <> 'run') AS doom
            FROM job_waits
            WHERE job_id IN (SELECT job_id FROM job_waits WHERE on_id = NEW.id AND ended IS NULL)
            GROUP BY job_id
        ), counted AS (
            UPDATE waiting w SET waits_for = edges.open, doom = edges.doom
            FROM edges WHERE w.job_id = edges.job_id
        ), moved AS (
            UPDATE jobs SET state = 'waiting', error = NULL, finished_at = NULL, deadline = NULL
            FROM edges
            WHERE jobs.id = edges.job_id AND jobs.state = 'dead' AND edges.doom IS NULL
            RETURNING jobs.id, jobs.tenant_id, jobs.attempt, jobs.batch_id, jobs.batch_shard,
                      edges.open
        ), held AS (
            INSERT INTO waiting (job_id, batch_id, shard, waits_for)
            SELECT id, batch_id, batch_shard, open FROM moved
        ), untimed AS (
            DELETE FROM deadlines USING moved WHERE deadlines.job_id = moved.id
        ), closed AS (
            UPDATE dead_letters SET state = 'replayed', closed_at = clock_timestamp(),
                                    closed_reason = 'What it waits for was replayed.'
            FROM moved WHERE dead_letters.job_id = moved.id AND dead_letters.state <> 'replayed'
        )
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'revive', 'dead', 'waiting', attempt FROM moved;
    END IF;
    RETURN NULL;
END
$$
"""
_TRIGGERS = (
    """
    CREATE TRIGGER flow_job_ended AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN ((NEW.awaited OR NEW.batch_id IS NOT NULL)
          AND NEW.state IN ('succeeded', 'dead', 'cancelled')
          AND OLD.state NOT IN ('succeeded', 'dead', 'cancelled'))
    EXECUTE FUNCTION flow_job_ended()
    """,
    """
    CREATE TRIGGER flow_job_reopened AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN ((NEW.awaited OR NEW.batch_id IS NOT NULL)
          AND OLD.state = 'dead' AND NEW.state IN ('scheduled', 'waiting'))
    EXECUTE FUNCTION flow_job_reopened()
    """,
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("batch_shard", sa.SmallInteger(), nullable=True))
    op.add_column(
        "jobs", sa.Column("awaited", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    _states(f"'waiting', {_STATES}")
    op.create_index(
        "ix_jobs_batch_id_id",
        "jobs",
        ["batch_id", "id"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    _waits()
    _batches()
    _cancellations()
    for function in (_RELEASE, _FILL, _COMPLETE, _ENDED, _REOPENED, *_TRIGGERS):
        op.execute(function)


def _states(states: str) -> None:
    op.drop_constraint(op.f("ck_jobs_state"), "jobs")
    op.execute(
        f"ALTER TABLE jobs ADD CONSTRAINT ck_jobs_state CHECK (state IN ({states})) NOT VALID"
    )
    op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_state")


def _waits() -> None:
    op.create_table(
        "waiting",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("shard", sa.SmallInteger(), nullable=True),
        sa.Column("waits_for", sa.Integer(), nullable=False),
        sa.Column("doom", sa.Text(), nullable=True),
        sa.CheckConstraint("waits_for >= 0", name=op.f("ck_waiting_waits_for")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_waiting")),
        postgresql_with=_SMALL_AND_HOT,
    )
    op.create_index(
        "ix_waiting_batch_id_shard_job_id",
        "waiting",
        ["batch_id", "shard", "job_id"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_waiting_doomed", "waiting", ["job_id"], postgresql_where=sa.text("doom IS NOT NULL")
    )
    op.create_table(
        "job_waits",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("on_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("otherwise", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "otherwise IN ('run', 'die', 'cancel')", name=op.f("ck_job_waits_otherwise")
        ),
        sa.PrimaryKeyConstraint("job_id", "on_id", name=op.f("pk_job_waits")),
    )
    op.create_index("ix_job_waits_on_id", "job_waits", ["on_id"])


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("window", sa.Integer(), nullable=True),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("open_shards", sa.Integer(), server_default="0", nullable=False),
        sa.Column("callbacks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("callback_ids", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_batches_state"),
        ),
        sa.CheckConstraint("open_shards >= 0", name=op.f("ck_batches_open_shards")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_tenant_id_id", "batches", ["tenant_id", "id"])
    op.create_index(
        "ix_batches_parent_id",
        "batches",
        ["parent_id"],
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    counts = ("total", "open", "placed", "succeeded", "dead", "cancelled")
    op.create_table(
        "batch_shards",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in counts),
        sa.CheckConstraint("open >= 0 AND placed >= 0", name=op.f("ck_batch_shards_counts")),
        sa.PrimaryKeyConstraint("batch_id", "shard", name=op.f("pk_batch_shards")),
        postgresql_with={"fillfactor": "50", **_SMALL_AND_HOT},
    )


def _cancellations() -> None:
    op.create_table(
        "cancellations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("spared", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("after", sa.Uuid(), nullable=True),
        sa.Column("again", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancellations")),
    )


def downgrade() -> None:
    for name in ("ended", "reopened"):
        op.execute(f"DROP TRIGGER flow_job_{name} ON jobs")
        op.execute(f"DROP FUNCTION flow_job_{name}()")
    op.execute("DROP FUNCTION flow_complete(uuid)")
    op.execute("DROP FUNCTION flow_fill(uuid, int)")
    op.execute("DROP FUNCTION flow_release(uuid[])")
    for table in ("cancellations", "batch_shards", "batches", "job_waits", "waiting"):
        op.drop_table(table)
    _states(_STATES)  # fails while jobs wait: let them end first
    op.drop_index("ix_jobs_batch_id_id", table_name="jobs")
    for column in ("awaited", "batch_shard", "batch_id"):
        op.drop_column("jobs", column)
