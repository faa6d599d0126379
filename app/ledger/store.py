"""Claim, settle, heartbeat, progress: every change of a running job, one guarded statement each.

The guard is (state, attempt): a claim moves the attempt on, so whoever held the job before changes
nothing any more. Zero rows changed means LostLease: roll back, acknowledge, stop.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import LostLease
from app.ledger.state import FINISHED, TRANSITIONS, Event, State

# The row is locked by its id alone and its state looked at afterwards: the message may be here before the
# dispatcher's commit is, and a condition on the state would look at the row as it was and not wait.
_CLAIM = text("""
    WITH target AS MATERIALIZED (
        SELECT id, state, lease_until FROM jobs WHERE id = :job_id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE jobs
        SET state = 'running', attempt = jobs.attempt + 1, worker = :worker,
            lease_until = clock_timestamp() + make_interval(secs => :lease_seconds),
            started_at = coalesce(jobs.started_at, clock_timestamp())
        FROM target
        WHERE jobs.id = target.id
          AND (target.state = 'queued'
               OR (target.state = 'running'
                   AND (:redelivered OR target.lease_until < clock_timestamp())))
        RETURNING jobs.id, jobs.tenant_id, jobs.kind, jobs.version, jobs.queue, jobs.payload,
                  jobs.attempt, jobs.max_attempts, jobs.traceparent, target.state AS was
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, worker)
        SELECT tenant_id, id, clock_timestamp(),
               CASE was WHEN 'queued' THEN 'claim' ELSE 'take_over' END, was, 'running',
               attempt, :worker
        FROM moved
    )
    SELECT * FROM moved
""")
_SETTLE = text("""
    WITH moved AS (
        UPDATE jobs
        SET state = :target, lease_until = NULL,
            run_at = CASE WHEN :finished THEN run_at
                          ELSE clock_timestamp() + make_interval(secs => :delay_seconds) END,
            max_attempts = max_attempts + :extra_attempts,
            error = CAST(:error AS jsonb),
            finished_at = CASE WHEN :finished THEN clock_timestamp() END
        WHERE id = :job_id AND attempt = :attempt AND state = 'running'
        RETURNING id, tenant_id, queue, run_at, attempt, worker
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM moved WHERE NOT :finished
    ), logged AS (
        INSERT INTO job_history
            (tenant_id, job_id, at, event, from_state, to_state, attempt, worker, detail)
        SELECT tenant_id, id, clock_timestamp(), :event, 'running', :target, attempt, worker,
               CAST(:detail AS jsonb)
        FROM moved
    )
    SELECT CASE WHEN NOT :finished THEN pg_notify('millrace_outbox', '') END FROM moved
""")
_HEARTBEAT = text("""
    UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    WHERE id = :job_id AND attempt = :attempt AND state = 'running'
""")
_PROGRESS = text("""
    UPDATE jobs SET progress_done = :done, progress_total = coalesce(:total, progress_total)
    WHERE id = :job_id AND attempt = :attempt AND state = 'running'
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that this process owns until its attempt number moves on."""

    id: UUID
    tenant_id: UUID
    kind: str
    version: int
    queue: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    traceparent: str | None
    taken_over: bool


def claim(
    tx: Connection, job_id: UUID, *, worker: str, lease_seconds: float, redelivered: bool
) -> Claimed | None:
    """Take a queued job, or a running one whose worker is gone; None when there is nothing to take.

    `redelivered` is the broker's word that the previous consumer of this message is gone. None is the
    normal answer to a duplicate: the message may be acknowledged.
    """
    row = tx.execute(
        _CLAIM,
        {
            "job_id": job_id,
            "worker": worker,
            "lease_seconds": lease_seconds,
            "redelivered": redelivered,
        },
    ).one_or_none()
    if row is None:
        return None
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    taken_over = facts.pop("was") == State.RUNNING
    return Claimed(**facts, taken_over=taken_over)


def settle(
    tx: Connection,
    job: Claimed,
    event: Event,
    *,
    delay_seconds: float = 0.0,
    extra_attempts: int = 0,
    error: dict[str, Any] | None = None,
) -> None:
    """End this attempt: succeed, retry, snooze, die or cancel, in the transaction of its effects.

    A job that goes back to `scheduled` is due after `delay_seconds` by the database's clock, and gets its
    outbox row here. `error` is kept on the job and in the
    history. Raises LostLease when the job is no longer this attempt's.
    """
    target = TRANSITIONS[event].target
    detail = json.dumps(error) if error is not None else None
    done = tx.execute(
        _SETTLE,
        {
            "job_id": job.id,
            "attempt": job.attempt,
            "event": event.value,
            "target": target.value,
            "finished": target in FINISHED,
            "delay_seconds": delay_seconds,
            "extra_attempts": extra_attempts,
            "error": detail,
            "detail": detail,
        },
    )
    if done.rowcount == 0:
        raise _lost(job)


def heartbeat(tx: Connection, job: Claimed, *, lease_seconds: float) -> bool:
    """Extend the lease; False when the job is no longer this attempt's."""
    done = tx.execute(
        _HEARTBEAT, {"job_id": job.id, "attempt": job.attempt, "lease_seconds": lease_seconds}
    )
    return done.rowcount == 1


def progress(tx: Connection, job: Claimed, *, done: int, total: int | None = None) -> None:
    """Record how far this attempt is; raises LostLease when the job is no longer this attempt's."""
    changed = tx.execute(
        _PROGRESS, {"job_id": job.id, "attempt": job.attempt, "done": done, "total": total}
    )
    if changed.rowcount == 0:
        raise _lost(job)


def _lost(job: Claimed) -> LostLease:
    return LostLease(f"job {job.id} is no longer attempt {job.attempt}'s: taken over or cancelled")
