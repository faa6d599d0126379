"""Who gets in next where a concurrency key allows a few at a time: of those that are parked, the first.

A job holds its key while its row is ready in the outbox, or in flight; a due job that can't have it is parked,
out of everybody's way. The enqueue of what is due leaves a row in `key_wakes`, and so does whatever takes a holder's row
away (a trigger, migration `concurrency_keys`); the dispatcher looks at those keys, and at the keys of what has come due, alone.

One dispatcher at a time lets jobs in, until its commit: it sees what the one before it has parked, and what has
left since the one before it looked has left word. So none that is parked is forgotten, and none is let in twice.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

ALONE = "pg_try_advisory_xact_lock(hashtextextended('millrace concurrency keys', 0))"
"""To be asked for in a statement before ADMIT, which then sees all that is committed."""

# A job that somebody else is ending or changing right now isn't waited for: they may want what we hold. None joins
# others beyond its own limit or any of theirs, nor overtakes one that doesn't fit: kinds which allow more, or none
# that run in order, would keep it waiting for ever.
ADMIT = text("""
    WITH keys AS MATERIALIZED (
        SELECT k.tenant_id, k.concurrency_key,
               (SELECT count(*) FROM outbox o
                WHERE o.ready AND o.tenant_id = k.tenant_id
                  AND o.concurrency_key = k.concurrency_key)
               + (SELECT count(*) FROM in_flight f
                  WHERE f.tenant_id = k.tenant_id AND f.concurrency_key = k.concurrency_key) AS holders,
               (SELECT o.concurrency_limit FROM outbox o
                WHERE o.parked AND NOT o.in_order AND o.tenant_id = k.tenant_id
                  AND o.concurrency_key = k.concurrency_key
                ORDER BY o.priority, o.run_at LIMIT 1) AS most,
               (SELECT o.job_id FROM outbox o
                WHERE o.parked AND o.job_id = (
                    SELECT l.job_id FROM key_lines l
                    WHERE l.tenant_id = k.tenant_id AND l.concurrency_key = k.concurrency_key
                    ORDER BY l.made_at, l.job_id LIMIT 1)) AS first_in_line
        FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS k(tenant_id uuid, concurrency_key text)
    ), chosen AS MATERIALIZED (
        SELECT keys.tenant_id, keys.concurrency_key, next.job_id
        FROM keys CROSS JOIN LATERAL (
            SELECT first.job_id, keys.holders + row_number() OVER line AS at_once,
                   min(first.concurrency_limit) OVER line AS most
            FROM (
                (SELECT o.job_id, o.priority, o.run_at, o.concurrency_limit FROM outbox o
                 WHERE o.parked AND NOT o.in_order AND o.tenant_id = keys.tenant_id
                   AND o.concurrency_key = keys.concurrency_key
                 ORDER BY o.priority, o.run_at LIMIT greatest(0, keys.most - keys.holders))
                UNION ALL
                SELECT o.job_id, o.priority, o.run_at, o.concurrency_limit FROM outbox o
                WHERE o.parked AND o.job_id = keys.first_in_line
            ) first
            WINDOW line AS (ORDER BY first.priority, first.run_at, first.job_id)
        ) next
        WHERE next.at_once <= next.most
          AND next.at_once <= coalesce(
              (SELECT min(o.concurrency_limit) FROM outbox o
               WHERE o.ready AND o.tenant_id = keys.tenant_id
                 AND o.concurrency_key = keys.concurrency_key), next.at_once)
          AND next.at_once <= coalesce(
              (SELECT min(j.concurrency_limit) FROM in_flight f JOIN jobs j ON j.id = f.job_id
               WHERE f.tenant_id = keys.tenant_id
                 AND f.concurrency_key = keys.concurrency_key), next.at_once)
    ), free AS MATERIALIZED (
        SELECT o.job_id FROM chosen JOIN outbox o USING (job_id)
        WHERE o.parked FOR UPDATE OF o SKIP LOCKED
    ), admitted AS (
        UPDATE outbox SET ready = true, parked = false FROM free WHERE outbox.job_id = free.job_id
        RETURNING outbox.job_id
    )
    SELECT DISTINCT CAST(tenant_id AS text) AS tenant_id, concurrency_key FROM chosen
    WHERE job_id NOT IN (SELECT job_id FROM admitted)
""")
_WAKE = text("""
    INSERT INTO key_wakes (tenant_id, concurrency_key)
    SELECT tenant_id, concurrency_key
    FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS k(tenant_id uuid, concurrency_key text)
""")


def admit(tx: Connection, keys: Sequence[dict[str, Any]], *, alone: bool) -> bool:
    """Let in what these keys, as `tenant_id` and `concurrency_key`, allow; what is let in is ready. Whether
    somebody has to look again soon, `alone` being False or a row being somebody's: the database says so too.
    """
    again = keys
    if alone:
        missed = tx.execute(ADMIT, {"keys": json.dumps(keys)})
        again = [dict(row._mapping) for row in missed]  # noqa: SLF001 - SQLAlchemy's public name for it
    if again:
        tx.execute(_WAKE, {"keys": json.dumps(again)})
    return bool(again)
