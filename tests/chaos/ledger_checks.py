"""What must hold of the ledger when all is quiet: one statement each, which returns the rows that break it.

The first column is the job, or null where the row belongs to none; the second says what is wrong.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

from app.ledger.state import TRANSITIONS

UNLAWFUL: Mapping[str, str] = MappingProxyType(
    {
        "the history is a path of the transition table": """
            WITH lawful AS (
                SELECT * FROM jsonb_to_recordset(%(table)s::jsonb)
                              AS t(event text, source text, target text)
            ), step AS (
                SELECT h.*, lag(to_state) OVER w AS stood, lag(attempt) OVER w AS tried
                FROM job_history h WINDOW w AS (PARTITION BY job_id ORDER BY id)
            )
            SELECT job_id, format('%%s from %%s to %%s, attempt %%s after %%s',
                                  event, coalesce(from_state, stood), to_state, attempt, tried)
            FROM step
            WHERE from_state IS DISTINCT FROM stood
               OR attempt <> coalesce(tried, 0) + (event IN ('claim', 'take_over'))::int
               OR NOT EXISTS (SELECT FROM lawful l WHERE l.event = step.event
                              AND l.target = step.to_state
                              AND l.source IS NOT DISTINCT FROM step.from_state)
        """,
        "a job stands where its history ends": """
            SELECT j.id, format('%%s #%%s, but its history ends in %%s #%%s',
                                j.state, j.attempt, h.to_state, h.attempt)
            FROM jobs j LEFT JOIN LATERAL (
                SELECT to_state, attempt FROM job_history h
                WHERE h.job_id = j.id ORDER BY h.id DESC LIMIT 1) h ON true
            WHERE (j.state, j.attempt) IS DISTINCT FROM (h.to_state, h.attempt)
        """,
        "no attempt begins after the deadline": """
            SELECT j.id, format('began %%s late', min(h.at) - j.deadline)
            FROM jobs j JOIN job_history h ON h.job_id = j.id AND h.event = 'claim'
            GROUP BY j.id HAVING min(h.at) > j.deadline
        """,
        "every death has one dead letter": """
            SELECT coalesce(d.job_id, l.job_id), format('%%s deaths, %%s letters', deaths, letters)
            FROM (SELECT job_id, count(*) AS deaths FROM job_history
                  WHERE to_state = 'dead' AND from_state <> 'dead' GROUP BY job_id) d
            FULL JOIN (SELECT job_id, count(*) AS letters FROM dead_letters
                       WHERE job_id IS NOT NULL GROUP BY job_id) l ON l.job_id = d.job_id
            WHERE deaths IS DISTINCT FROM letters
        """,
        "a batch counts its jobs as they ended": """
            SELECT NULL::uuid, format('%%s of batch %%s, shard %%s: %%s', j.jobs, s.batch_id, s.shard, s)
            FROM batch_shards s CROSS JOIN LATERAL (
                SELECT count(*) AS jobs, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
                       count(*) FILTER (WHERE state = 'dead') AS dead,
                       count(*) FILTER (WHERE state = 'cancelled') AS cancelled
                FROM jobs WHERE batch_id = s.batch_id AND batch_shard = s.shard) j
            WHERE (s.total, s.open, s.placed, s.succeeded, s.dead, s.cancelled)
                  <> (j.jobs, 0, 0, j.succeeded, j.dead, j.cancelled)
        """,
        "nothing begins before what it waits for has ended": """
            SELECT w.job_id, format('began %%s before %%s ended', ended.at - begun.at, w.on_id)
            FROM job_waits w
            CROSS JOIN LATERAL (SELECT min(at) AS at FROM job_history
                                WHERE job_id = w.job_id AND event = 'claim') begun
            CROSS JOIN LATERAL (SELECT min(at) AS at FROM job_history
                                WHERE job_id = w.on_id
                                  AND to_state IN ('succeeded', 'dead', 'cancelled')) ended
            WHERE begun.at < ended.at OR (begun.at IS NOT NULL AND ended.at IS NULL)
        """,
        "a dead job, and no other, has an open letter": """
            SELECT j.id, format('%%s, with %%s open letters', j.state, count(d.id))
            FROM jobs j LEFT JOIN dead_letters d ON d.job_id = j.id AND d.state = 'open'
            GROUP BY j.id HAVING count(d.id) <> (j.state = 'dead')::int
        """,
    }
)

STUCK: Mapping[str, str] = MappingProxyType(
    {
        "every job has ended": """
            SELECT id, format('%%s since %%s', state, coalesce(started_at, queued_at, created_at))
            FROM jobs WHERE state IN ('waiting', 'scheduled', 'queued', 'running')
        """,
        "nothing waits": "SELECT job_id, format('waits for %%s', waits_for) FROM waiting",
        "every cancel has arrived": """
            SELECT job_id, format('of batch %%s, since %%s', batch_id, created_at) FROM cancellations
        """,
        "every batch has ended": """
            SELECT NULL::uuid, format('%%s %%s: %%s shards are open', name, id, open_shards)
            FROM batches WHERE finished_at IS NULL
        """,
        "nobody holds a lease": "SELECT id, state FROM jobs WHERE lease_until IS NOT NULL",
        "the outbox is empty": "SELECT job_id, 'in the outbox' FROM outbox",
        "nothing is in flight": "SELECT job_id, 'in flight' FROM in_flight",
        "no lock is held": """
            SELECT l.job_id, format('holds %%s', l.name)
            FROM locks l JOIN jobs j ON j.id = l.job_id
            WHERE j.state = 'running' AND j.attempt = l.attempt
        """,
        "every effect of a job that succeeded is done": """
            SELECT e.job_id, format('%%s was begun by #%%s', e.name, e.attempt)
            FROM effects e JOIN jobs j ON j.id = e.job_id
            WHERE j.state = 'succeeded' AND e.done_at IS NULL
        """,
        "every import has ended": """
            SELECT job_id, format('import %%s is %%s', id, status) FROM imports
            WHERE status IN ('queued', 'running')
        """,
        "no transaction is left open": """
            SELECT NULL::uuid, format('%%s: %%s for %%s', application_name, state,
                                      clock_timestamp() - xact_start)
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
              AND xact_start < clock_timestamp() - interval '5 seconds'
        """,
    }
)


def transition_table() -> str:
    """The product's own table, as the first check takes it."""
    sources: dict[str, list[str | None]] = {
        event.value: [source.value for source in move.sources] or [None]
        for event, move in TRANSITIONS.items()
    }
    rows = [
        {"event": event.value, "source": source, "target": move.target.value}
        for event, move in TRANSITIONS.items()
        for source in sources[event.value]
    ]
    return json.dumps(rows)
