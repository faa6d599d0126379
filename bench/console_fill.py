"""A month of a busy product in the database, by a handful of statements: what the console's pages are measured on."""

from sqlalchemy import Connection, Engine, text

from app.jobs import CATALOG
from app.keys import create_tenant

TENANTS = 200
LINES = 3
"""Of history, for each job."""

# Ids as the product makes them: the time in front, so that they are in its order.
_ID = """(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0')
          || '7' || substr(md5({seed}::text), 1, 3) || '8' || substr(md5({seed}::text), 4, 15))::uuid"""
_AT = "clock_timestamp() - (:jobs - n) * (interval '30 days' / :jobs)"
_STATE = """CASE WHEN n > :jobs - 500 THEN 'running' WHEN n > :jobs - 1000 THEN 'queued'
                 WHEN n > :jobs - 1000 - :jobs / 20 THEN 'scheduled'
                 WHEN n % 20 = 7 THEN 'dead' WHEN n % 97 = 3 THEN 'cancelled' ELSE 'succeeded' END"""
_JOBS = f"""
    INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, attempt, max_attempts,
                      run_at, unique_key, worker, error, created_at, queued_at, started_at, finished_at)
    SELECT id, tenants.ids[1 + (n * n % 9973) % {TENANTS}], kinds.names[1 + n % cardinality(kinds.names)],
           1, (ARRAY['default', 'default', 'high', 'low'])[1 + n % 4], state,
           jsonb_build_object('import_id', id, 'index', n, 'words', md5(n::text)),
           1, 5, at, CASE WHEN n % 10 = 0 THEN 'order-' || n END,
           CASE WHEN state = 'running' THEN 'default@worker-' || n % 8 END,
           CASE WHEN state = 'dead' THEN jsonb_build_object(
               'code', 'exception', 'message', 'Row ' || n || ' has no room', 'type', 'KeyError') END,
           at, at, at, CASE WHEN state IN ('succeeded', 'dead', 'cancelled') THEN at + interval '2 s' END
    FROM (SELECT n, at, {_ID.format(at="at", seed="n")} AS id, {_STATE} AS state
          FROM (SELECT n, {_AT} AS at FROM generate_series(CAST(:low AS bigint), :high) AS n) timed) made,
         (SELECT array_agg(id ORDER BY id) AS ids FROM tenants) tenants,
         (SELECT CAST(:kinds AS text[]) AS names) kinds
"""
_HISTORY = """
    INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
    SELECT tenant_id, id, created_at + line * interval '1 s',
           (ARRAY['enqueue', 'claim', 'succeed'])[line],
           (ARRAY[NULL, 'queued', 'running'])[line], (ARRAY['scheduled', 'running', state])[line], 1
    FROM jobs, generate_series(1, 3) AS line ORDER BY id, line
"""
_REST = (
    """
    INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind)
    SELECT id, tenant_id, queue, run_at, true, kind FROM jobs WHERE state = 'scheduled'
    """,
    """
    INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
    SELECT id, tenant_id, queue, kind, attempt, queued_at FROM jobs
    WHERE state IN ('queued', 'running')
    """,
    """
    INSERT INTO incidents (id, fingerprint, kind, code, error_type, frame, message, count, first_seen,
                           last_seen)
    SELECT gen_random_uuid(), 'f' || n, 'import.chunk', 'exception', 'KeyError', 'app.place:f' || n,
           'Row ' || n || ' has no room', 1000, clock_timestamp() - n * interval '1 hour',
           clock_timestamp() - n * interval '1 minute' FROM generate_series(1, 300) AS n
    """,
    """
    INSERT INTO dead_letters (id, incident_id, job_id, tenant_id, kind, queue, code, error, attempt,
                              first_failed_at, last_failed_at, created_at)
    SELECT j.id, i.ids[CASE WHEN row_number() OVER (ORDER BY j.id) % 5 > 0 THEN 1
                            ELSE 1 + (row_number() OVER (ORDER BY j.id) % 300)::int END],
           j.id, j.tenant_id, j.kind, j.queue, 'exception', j.error, 1, j.finished_at, j.finished_at,
           j.finished_at
    FROM jobs j, (SELECT array_agg(id ORDER BY last_seen DESC) AS ids FROM incidents) i
    WHERE j.state = 'dead'
    """,
    f"""
    INSERT INTO mails (id, tenant_id, job_id, template, recipient, subject, message_id, status, created_at)
    SELECT {_ID.format(at="created_at", seed="id || 'm'")}, tenant_id, id, 'welcome', 'a@example.com',
           'Welcome', 'x', 'sent', created_at FROM jobs WHERE kind LIKE 'mail.%'
    """,
    """
    INSERT INTO webhook_endpoints (id, tenant_id, url, events, secret)
    SELECT id, id, 'https://hooks.example/', '["*"]', 'x' FROM tenants
    """,
    """
    INSERT INTO webhook_events (id, tenant_id, type, data)
    SELECT id, id, 'import.finished', '{}' FROM tenants
    """,
    """
    INSERT INTO webhook_deliveries (id, tenant_id, event_id, endpoint_id, job_id, state, created_at)
    SELECT id, tenant_id, tenant_id, tenant_id, id, 'delivered', created_at FROM jobs
    WHERE kind = 'webhook.deliver'
    """,
    """
    INSERT INTO imports (id, tenant_id, job_id, status, filename, target, policy, object_key, columns,
                         fields, bytes_total, created_at)
    SELECT id, tenant_id, id, 'succeeded', 'people.csv', 'contacts', 'upsert', 'x', '["email"]',
           '["email"]', 10, created_at FROM jobs WHERE kind = 'import.plan'
    """,
    f"""
    INSERT INTO audit_log (id, at, actor, role, via, action, object, object_id, reason)
    SELECT {_ID.format(at="created_at", seed="id || 'a'")}, created_at, 'anna', 'operator', 'console',
           'job.retry', 'job', id::text, 'a reason' FROM jobs WHERE kind = 'sync.push'
    """,
    """
    INSERT INTO schedules (id, tenant_id, name, kind, version, payload, cron, catch_up, next_at)
    SELECT gen_random_uuid(), t.id, 'daily ' || n, 'report.daily', 1, '{}', '0 8 * * *', 'last',
           clock_timestamp() + interval '1 day' FROM tenants t, generate_series(1, 10) AS n
    """,
)
BATCH = 100_000


def fill(engine: Engine, jobs: int) -> None:
    """So many jobs, and in proportion all that goes with them; then statistics, as autovacuum makes them."""
    with engine.begin() as tx:
        for n in range(TENANTS):
            create_tenant(tx, name=f"tenant {n:03}", email=f"t{n}@example.com")
    for low in range(1, jobs + 1, BATCH):
        with engine.begin() as tx:
            facts = {"low": low, "high": min(jobs, low + BATCH - 1)}
            tx.execute(text(_JOBS), {**facts, "jobs": jobs, "kinds": sorted(CATALOG)})
    with engine.begin() as tx:
        tx.execute(text(_HISTORY))
        for statement in _REST:
            tx.execute(text(statement))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("VACUUM (ANALYZE)"))
    assert _count(engine, "jobs") == jobs


def largest_incident(tx: Connection) -> str:
    """The id of the one with the most letters."""
    query = "SELECT incident_id FROM dead_letters GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    return str(tx.execute(text(query)).scalar_one())


def _count(engine: Engine, table: str) -> int:
    with engine.connect() as tx:
        return int(tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
