"""The outbox: due jobs out, in small batches that several dispatchers share without meeting."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.broker.topology import Queue

# Both locks skip: a row that another dispatcher holds is theirs, and a job that is being cancelled right
# now is looked at again in the next round. Waiting here could deadlock with the cancel.
_TAKE = text("""
    SELECT j.id, j.kind, j.version, j.attempt, j.queue, j.traceparent
    FROM (
        SELECT due.job_id, queue.rank, due.run_at
        FROM unnest(CAST(:queues AS text[])) WITH ORDINALITY AS queue(name, rank)
        CROSS JOIN LATERAL (
            SELECT o.job_id, o.run_at FROM outbox o
            WHERE o.queue = queue.name AND o.run_at <= clock_timestamp()
            ORDER BY o.run_at
            LIMIT :batch
            FOR UPDATE SKIP LOCKED
        ) due
    ) box
    JOIN jobs j ON j.id = box.job_id AND j.state = 'scheduled'
    ORDER BY box.rank, box.run_at
    LIMIT :batch
    FOR NO KEY UPDATE OF j SKIP LOCKED
""")
_MARK = text("""
    WITH moved AS (
        UPDATE jobs SET state = 'queued', queued_at = clock_timestamp()
        WHERE id = ANY(:job_ids) AND state = 'scheduled'
        RETURNING id, tenant_id, queue, kind, attempt, queued_at
    ), gone AS (
        DELETE FROM outbox WHERE job_id = ANY(:job_ids)
    ), out AS (
        INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
        SELECT id, tenant_id, queue, kind, attempt + 1, queued_at FROM moved
        ON CONFLICT (job_id) DO UPDATE
        SET queued_at = excluded.queued_at, attempt = excluded.attempt
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'dispatch', 'scheduled', 'queued', attempt FROM moved
    )
    SELECT count(*) FROM moved
""")
_POSTPONE = text("""
    UPDATE outbox SET run_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE job_id = ANY(:job_ids)
""")
_NEXT_DUE = text("""
    SELECT extract(epoch FROM min(next) - clock_timestamp())
    FROM unnest(CAST(:queues AS text[])) AS queue(name)
    CROSS JOIN LATERAL (
        SELECT o.run_at AS next FROM outbox o
        WHERE o.queue = queue.name AND o.run_at > clock_timestamp()
        ORDER BY o.run_at LIMIT 1
    ) due
""")
_QUEUES = [queue.value for queue in Queue]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueJob:
    """A job to publish. `attempt` is the number of attempts made so far."""

    id: UUID
    kind: str
    version: int
    attempt: int
    queue: str
    traceparent: str | None


def take_due(tx: Connection, *, batch: int) -> list[DueJob]:
    """Lock at most `batch` due jobs, most urgent queue first, then the longest due.

    They stay locked until `tx` ends: a worker that already got the message waits at its claim, and so
    never sees a job that is published but not yet `queued`.
    """
    rows = tx.execute(_TAKE, {"queues": _QUEUES, "batch": batch})
    return [DueJob(**row._mapping) for row in rows]  # noqa: SLF001


def mark_queued(tx: Connection, job_ids: Sequence[UUID]) -> None:
    """The broker has confirmed these: they are `queued`, and out of the outbox."""
    tx.execute(_MARK, {"job_ids": list(job_ids)})


def postpone(tx: Connection, job_ids: Sequence[UUID], *, seconds: float) -> None:
    """The broker refused these: leave them where they are and look again in a while."""
    tx.execute(_POSTPONE, {"job_ids": list(job_ids), "seconds": seconds})


def seconds_to_next(tx: Connection) -> float | None:
    """How long until the next job that is not due yet; None when there is none."""
    answer = tx.execute(_NEXT_DUE, {"queues": _QUEUES}).scalar_one()
    return None if answer is None else max(0.0, float(answer))
