"""Claim, settle, heartbeat, progress: every change of a running job, one guarded statement each.

The guard is (state, attempt): a claim moves the attempt on, so whoever held the job before changes
nothing any more. Zero rows changed means LostLease: roll back, acknowledge, stop.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import DivisionByZero
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from app.db import begin_with, commit_with, execute_prepared
from app.errors import LostLease
from app.ledger.state import FINISHED, TRANSITIONS, Event, State

# The row is locked by its id alone and its state looked at afterwards: the message may be here before the
# dispatcher's commit is, and a condition on the state would look at the row as it was and not wait.
_CLAIM = text("""
    WITH target AS MATERIALIZED (
        SELECT id, state, lease_until, deadline FROM jobs WHERE id = :job_id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE jobs
        SET state = 'running', attempt = jobs.attempt + 1, worker = :worker,
            lease_until = clock_timestamp() + make_interval(secs => :lease_seconds),
            started_at = coalesce(jobs.started_at, clock_timestamp())
        FROM target
        WHERE jobs.id = target.id
          AND (target.deadline IS NULL OR target.deadline > clock_timestamp()
               OR target.state = 'running')
          AND (target.state = 'queued'
               OR (target.state = 'running'
                   AND (target.lease_until < clock_timestamp()
                        OR ((:redelivered OR :unanswered) AND EXISTS (
                            SELECT FROM in_flight f
                            WHERE f.job_id = target.id AND f.attempt = :message_attempt)))))
        RETURNING jobs.id, jobs.tenant_id, jobs.kind, jobs.version, jobs.queue, jobs.payload,
                  jobs.attempt, jobs.max_attempts, jobs.traceparent, jobs.checkpoint,
                  CASE target.state WHEN 'queued' THEN
                      extract(epoch FROM clock_timestamp() - jobs.run_at)::float END AS waited,
                  target.state AS was, target.lease_until < clock_timestamp() AS over
    ), logged AS (
        INSERT INTO job_history
            (tenant_id, job_id, at, event, from_state, to_state, attempt, worker, detail)
        SELECT tenant_id, id, clock_timestamp(),
               CASE was WHEN 'queued' THEN 'claim' ELSE 'take_over' END, was, 'running',
               attempt, :worker,
               CASE WHEN was = 'queued' THEN NULL
                    WHEN over THEN jsonb_build_object(
                        'code', 'lease_expired', 'message', 'The worker let its lease run out.')
                    WHEN :redelivered THEN jsonb_build_object(
                        'code', 'redelivered',
                        'message', 'The broker delivered its message again: whoever had it is gone.')
                    ELSE jsonb_build_object(
                        'code', 'claim_unanswered',
                        'message', 'The database was lost before it had answered to the claim.')
               END
        FROM moved
    )
    SELECT * FROM moved
""")
# Two statements and not one with conditions: what most jobs need is a fifth cheaper without the rest.
_FINISH = text("""
    WITH moved AS (
        UPDATE jobs
        SET state = :target, lease_until = NULL, max_attempts = max_attempts + :extra_attempts,
            error = CAST(:detail AS jsonb), finished_at = clock_timestamp()
        WHERE id = :job_id AND attempt = :attempt AND state = 'running'
        RETURNING id, tenant_id, attempt, worker
    ), landed AS (
        DELETE FROM in_flight USING moved WHERE in_flight.job_id = moved.id
    )
    INSERT INTO job_history
        (tenant_id, job_id, at, event, from_state, to_state, attempt, worker, detail)
    SELECT tenant_id, id, clock_timestamp(), :event, 'running', :target, attempt, worker,
           CAST(:detail AS jsonb)
    FROM moved
""")
_PUT_BACK = text("""
    WITH moved AS (
        UPDATE jobs
        SET state = :target, lease_until = NULL, max_attempts = max_attempts + :extra_attempts,
            error = CAST(:detail AS jsonb), finished_at = NULL,
            run_at = clock_timestamp() + make_interval(secs => :delay_seconds)
        WHERE id = :job_id AND attempt = :attempt AND state = 'running'
        RETURNING id, tenant_id, queue, run_at, attempt, worker
    ), landed AS (
        DELETE FROM in_flight USING moved WHERE in_flight.job_id = moved.id
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM moved
    ), logged AS (
        INSERT INTO job_history
            (tenant_id, job_id, at, event, from_state, to_state, attempt, worker, detail)
        SELECT tenant_id, id, clock_timestamp(), :event, 'running', :target, attempt, worker,
               CAST(:detail AS jsonb)
        FROM moved
    )
    SELECT pg_notify('millrace_outbox', '') FROM moved
""")
# By their ids alone, as above, and in one order, so that two messages with the same jobs don't wait for each other.
# Whoever stands still while it holds them, a stopped process say, loses them.
_HOLD = text("""
    SELECT id, tenant_id, kind, version, queue, payload, attempt + 1, max_attempts, traceparent,
           checkpoint, extract(epoch FROM clock_timestamp() - run_at)::float,
           CASE WHEN state = 'queued' AND coalesce(deadline > clock_timestamp(), true)
                THEN extract(epoch FROM clock_timestamp()) END,
           pg_current_xact_id(), (SELECT set_config('idle_in_transaction_session_timeout', '15s', true))
    FROM jobs WHERE id = ANY(CAST(:job_ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
# It fails where one of them is no longer held, or, of several, where one's handler has rolled back what the others wrote.
_FINISH_HELD = text("""
    WITH moved AS (
        UPDATE jobs
        SET state = 'succeeded', attempt = held.attempt, worker = :worker, error = NULL,
            started_at = coalesce(started_at, to_timestamp(held.began)), finished_at = to_timestamp(held.ended)
        FROM unnest(CAST(:job_ids AS uuid[]), CAST(:attempts AS int[]), CAST(:begins AS float8[]),
                    CAST(:ends AS float8[])) AS held(id, attempt, began, ended)
        WHERE jobs.id = held.id AND jobs.attempt = held.attempt - 1 AND state = 'queued'
        RETURNING jobs.id, tenant_id, held.attempt, held.began, held.ended
    ), landed AS (
        DELETE FROM in_flight WHERE job_id = ANY(CAST(:job_ids AS uuid[]))
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, worker)
        SELECT tenant_id, id, to_timestamp(step.at), step.event, step.was, step.becomes, attempt, :worker
        FROM moved CROSS JOIN LATERAL (VALUES (began, 'claim', 'queued', 'running'),
                                              (ended, 'succeed', 'running', 'succeeded'))
                                      AS step(at, event, was, becomes)
        ORDER BY began, step.at
    )
    SELECT 1 / (count(*) = cardinality(CAST(:job_ids AS uuid[]))
                AND (count(*) = 1 OR pg_xact_status(CAST(:transaction AS xid8)) IS DISTINCT FROM 'aborted')
               )::int FROM moved
""")
_HEARTBEAT = text("""
    UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    WHERE id = :job_id AND attempt = :attempt AND state = 'running'
""")
_PROGRESS = text("""
    UPDATE jobs SET progress_done = :done, progress_total = coalesce(:total, progress_total)
    WHERE id = :job_id AND attempt = :attempt AND state = 'running'
""")
_CHECKPOINT = text("""
    UPDATE jobs SET checkpoint = CAST(:saved AS jsonb)
    WHERE id = :job_id AND attempt = :attempt AND state = 'running'
""")
_OWNED = text("""
    SELECT EXISTS (
        SELECT FROM jobs WHERE id = :job_id AND attempt = :attempt AND state = 'running')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that this process owns until its attempt number moves on. `waited_seconds` is how long after
    it was due; None where it was taken over from another.
    """

    id: UUID
    tenant_id: UUID
    kind: str
    version: int
    queue: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    traceparent: str | None
    checkpoint: dict[str, Any] | None
    waited_seconds: float | None
    taken_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A job whose row this `transaction` holds, as the attempt that it will have been. `began` is by the database's
    clock, in seconds since the epoch.
    """

    job: Claimed
    worker: str
    began: float
    transaction: str


_CLAIMED = (
    *("id", "tenant_id", "kind", "version", "queue", "payload"),
    *("attempt", "max_attempts", "traceparent", "checkpoint", "waited_seconds"),
)


def claim(
    tx: Connection,
    job_id: UUID,
    *,
    worker: str,
    lease_seconds: float,
    redelivered: bool,
    message_attempt: int,
    unanswered: bool = False,
) -> Claimed | None:
    """Take a queued job, or a running one whose worker is gone; None when there is nothing to take.

    `redelivered` is the broker's word that the previous consumer of this message is gone, `unanswered` the
    worker's own that it may have claimed the job before and not heard so. Either counts if the message, which
    names the attempt that it was sent for, is the newest of its job. None is the normal answer to a duplicate:
    the message may be acknowledged. Why a running one was taken is in its history.
    """
    row = execute_prepared(
        tx,
        _CLAIM,
        {
            "job_id": job_id,
            "worker": worker,
            "lease_seconds": lease_seconds,
            "redelivered": redelivered,
            "message_attempt": message_attempt,
            "unanswered": unanswered,
        },
    ).fetchone()
    if row is None:
        return None
    *facts, was, _ = row
    return Claimed(**dict(zip(_CLAIMED, facts, strict=True)), taken_over=was == State.RUNNING)


def hold(tx: Connection, job_ids: Sequence[UUID], *, worker: str) -> dict[UUID, Held]:
    """Begin `tx`, and take those of the jobs that are queued and not overdue, for as long as it lasts and without a word
    to anybody: if it ends without `commit_held`, nothing has happened. By id.
    """
    rows = begin_with(tx, _HOLD, {"job_ids": list(job_ids)})
    held = (_held(row, worker) for row in rows)
    return {one.job.id: one for one in held if one is not None}


def _held(row: Sequence[Any], worker: str) -> Held | None:
    job_id, tenant_id, kind, version, queue, payload, attempt, most, traceparent, *more = row
    checkpoint, waited, began, transaction, _ = more
    if began is None:
        return None
    job = Claimed(
        id=UUID(job_id),
        tenant_id=UUID(tenant_id),
        kind=kind,
        version=int(version),
        queue=queue,
        payload=json.loads(payload),
        attempt=int(attempt),
        max_attempts=int(most),
        traceparent=traceparent,
        checkpoint=None if checkpoint is None else json.loads(checkpoint),
        waited_seconds=float(waited),
        taken_over=False,
    )
    return Held(job=job, worker=worker, began=float(began), transaction=transaction)


def commit_held(tx: Connection, done: Sequence[tuple[Held, float]]) -> None:
    """Record claim and success of held jobs of one worker, each with its end by the database's clock, and commit `tx`
    with their effects. Raises LostLease when one is no longer held, or one's handler has rolled back the others' effects.
    """
    jobs = [held.job for held, _ in done]
    try:
        commit_with(
            tx,
            _FINISH_HELD,
            {
                "job_ids": [job.id for job in jobs],
                "attempts": [job.attempt for job in jobs],
                "begins": [held.began for held, _ in done],
                "ends": [end for _, end in done],
                "worker": done[0][0].worker,
                "transaction": done[0][0].transaction,
            },
        )
    except DataError as error:
        if not isinstance(error.orig, DivisionByZero):
            raise
        raise LostLease(f"not all of {len(jobs)} held jobs are still this worker's") from None


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
    outbox row here. `error` is kept on the job and in the history. Raises LostLease when the job is no
    longer this attempt's.
    """
    target = TRANSITIONS[event].target
    done = execute_prepared(
        tx,
        _FINISH if target in FINISHED else _PUT_BACK,
        {
            "job_id": job.id,
            "attempt": job.attempt,
            "event": event.value,
            "target": target.value,
            "delay_seconds": delay_seconds,
            "extra_attempts": extra_attempts,
            "detail": json.dumps(error) if error is not None else None,
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


def save_checkpoint(tx: Connection, job: Claimed, saved: dict[str, Any]) -> None:
    """Keep what a later attempt needs to go on from here; raises LostLease like `progress`."""
    changed = tx.execute(
        _CHECKPOINT, {"job_id": job.id, "attempt": job.attempt, "saved": json.dumps(saved)}
    )
    if changed.rowcount == 0:
        raise _lost(job)


def is_owned(tx: Connection, job: Claimed) -> bool:
    """Whether the job is still this attempt's: not taken over, not cancelled."""
    owned: bool = tx.execute(_OWNED, {"job_id": job.id, "attempt": job.attempt}).scalar_one()
    return owned


def _lost(job: Claimed) -> LostLease:
    return LostLease(f"job {job.id} is no longer attempt {job.attempt}'s: taken over or cancelled")
