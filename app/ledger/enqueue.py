"""Put work into the ledger, inside the caller's own transaction: it is there if and only if they commit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from app.ids import new_id
from app.ledger.contract import JobContract
from app.ledger.prerequisites import Otherwise, Prerequisites, add_edges, stand_before
from app.ledger.state import State
from app.traces import spans

OUTBOX_CHANNEL = "millrace_outbox"
"""NOTIFY on this channel, with no payload, says that the outbox has something new."""

_INSERT = text("""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS j(
            id uuid, kind text, version int, queue text, payload jsonb, max_attempts int, priority smallint,
            run_at timestamptz, deadline timestamptz, unique_key text)
    ), job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, priority,
                          run_at, deadline, unique_key, parent_id, traceparent)
        SELECT id, :tenant_id, kind, version, queue, 'scheduled', payload, max_attempts, priority,
               coalesce(run_at, clock_timestamp()), deadline, unique_key, :parent_id, :traceparent
        FROM wanted
        ON CONFLICT (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
        RETURNING id, tenant_id, queue, run_at, deadline, kind, priority
    ), timed AS (
        INSERT INTO deadlines (job_id, deadline)
        SELECT id, deadline FROM job WHERE deadline IS NOT NULL
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind, priority)
        SELECT id, tenant_id, queue, run_at, run_at <= clock_timestamp(), kind, priority FROM job
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'enqueue', 'scheduled', 0 FROM job
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM job
""")
# As above, for jobs that may have to wait, or that belong to a batch.
_INSERT_FLOW = text("""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS j(
            id uuid, kind text, version int, queue text, payload jsonb, max_attempts int, priority smallint,
            run_at timestamptz, deadline timestamptz, unique_key text,
            state text, batch_id uuid, shard smallint, waits_for int, doom text)
    ), job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, priority,
                          run_at, deadline, unique_key, parent_id, batch_id, batch_shard, traceparent)
        SELECT id, :tenant_id, kind, version, queue, state, payload, max_attempts, priority,
               coalesce(run_at, clock_timestamp()), deadline, unique_key, :parent_id, batch_id, shard,
               :traceparent
        FROM wanted
        ON CONFLICT (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
        RETURNING id, tenant_id, queue, state, run_at, deadline, kind, priority
    ), timed AS (
        INSERT INTO deadlines (job_id, deadline)
        SELECT id, deadline FROM job WHERE deadline IS NOT NULL
    ), held AS (
        INSERT INTO waiting (job_id, batch_id, shard, waits_for, doom)
        SELECT id, batch_id, shard, waits_for, doom FROM wanted
        WHERE id IN (SELECT id FROM job WHERE state = 'waiting')
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind, priority)
        SELECT id, tenant_id, queue, run_at, run_at <= clock_timestamp(), kind, priority FROM job WHERE state = 'scheduled'
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(),
               CASE state WHEN 'waiting' THEN 'wait' ELSE 'enqueue' END, state, 0
        FROM job
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM job
""")
_EXISTING = text("""
    SELECT id FROM jobs WHERE tenant_id = :tenant_id AND kind = :kind AND unique_key = :unique_key
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be. `run_at` in the past or None means now, by the database's clock. No attempt begins
    after `deadline`: a job that is still waiting then is dead. At most one job of a kind has a given
    `unique_key` in a tenant, for as long as that job is kept.

    It waits until all the jobs `after`, of the same tenant, have ended; `otherwise` says what becomes of
    it when one of them has ended without success. Among the jobs of its tenant and queue those with the
    lowest `priority` go first; None is the kind's own.
    """

    job: JobContract
    run_at: datetime | None = None
    deadline: datetime | None = None
    unique_key: str | None = None
    after: Sequence[UUID] = ()
    otherwise: Otherwise = Otherwise.DIE
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """For `app.ledger.batches`: the batch that the jobs belong to, and which of its shards is the first
    one's. Where it is `crowded`, they wait until the window has a place for them.
    """

    batch_id: UUID
    shards: int
    first: int
    crowded: bool


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`created` is False when a job with that unique key was there already; `id` is then that job's."""

    id: UUID
    created: bool


def enqueue(
    tx: Connection,
    tenant_id: UUID,
    job: JobContract,
    *,
    run_at: datetime | None = None,
    deadline: datetime | None = None,
    unique_key: str | None = None,
    after: Sequence[UUID] = (),
    otherwise: Otherwise = Otherwise.DIE,
    priority: int | None = None,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
) -> Enqueued:
    """Add one job to the transaction `tx`, with its outbox row unless it has to wait. See NewJob."""
    new = NewJob(
        job=job,
        run_at=run_at,
        deadline=deadline,
        unique_key=unique_key,
        after=after,
        otherwise=otherwise,
        priority=priority,
    )
    return enqueue_many(tx, tenant_id, [new], parent_id=parent_id, traceparent=traceparent)[0]


def enqueue_many(
    tx: Connection,
    tenant_id: UUID,
    jobs: Sequence[NewJob],
    *,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
    place: Place | None = None,
) -> list[Enqueued]:
    """Add jobs of one tenant, in one statement where none has to wait; the answers are in the order of
    `jobs`. Raises NotFound for a job that is to be waited for and isn't there.

    Where there is a current span they belong to its trace; elsewhere `traceparent` is what they come from.
    """
    with spans.enqueuing([new.job.spec.kind for new in jobs], traceparent) as given:
        origin = {"tenant_id": tenant_id, "parent_id": parent_id, "traceparent": given}
        return _add(tx, tenant_id, jobs, origin, place)


def _add(
    tx: Connection,
    tenant_id: UUID,
    jobs: Sequence[NewJob],
    origin: Mapping[str, object],
    place: Place | None,
) -> list[Enqueued]:
    ids = [new_id() for _ in jobs]
    rows = [_row(job_id, new) for job_id, new in zip(ids, jobs, strict=True)]
    awaited = {on_id for new in jobs for on_id in new.after}
    if not awaited and place is None:
        created = _insert(tx, _INSERT, rows, origin)
    else:
        states = stand_before(tx, tenant_id, awaited)
        befores = [Prerequisites.of(states, new.after, new.otherwise) for new in jobs]
        rows = [
            {**row, **_standing(number, before, place)}
            for number, (row, before) in enumerate(zip(rows, befores, strict=True))
        ]
        created = _insert(tx, _INSERT_FLOW, rows, origin)
        add_edges(tx, tenant_id, {i: b for i, b in zip(ids, befores, strict=True) if i in created})
    return [
        Enqueued(job_id, True)
        if job_id in created
        else Enqueued(_existing(tx, tenant_id, new), False)
        for job_id, new in zip(ids, jobs, strict=True)
    ]


def _insert(
    tx: Connection,
    statement: TextClause,
    rows: Sequence[Mapping[str, object]],
    origin: Mapping[str, object],
) -> set[UUID]:
    return {row.id for row in tx.execute(statement, {"jobs": json.dumps(rows), **origin})}


def _standing(number: int, before: Prerequisites, place: Place | None) -> dict[str, object]:
    """Where the job begins; `number` is its place among those that are added with it."""
    crowded = place is not None and place.crowded
    return {
        "state": State.WAITING if crowded else before.begins,
        "batch_id": None if place is None else str(place.batch_id),
        "shard": None if place is None else (place.first + number) % place.shards,
        "waits_for": before.waits_for,
        "doom": before.doom,
    }


def _row(job_id: UUID, new: NewJob) -> dict[str, object]:
    spec = new.job.spec
    return {
        "id": str(job_id),
        "kind": spec.kind,
        "version": spec.version,
        "queue": spec.queue.value,
        "payload": new.job.model_dump(mode="json"),
        "max_attempts": spec.retry.attempts,
        "priority": spec.priority if new.priority is None else new.priority,
        "run_at": new.run_at.isoformat() if new.run_at else None,
        "deadline": new.deadline.isoformat() if new.deadline else None,
        "unique_key": new.unique_key,
    }


def _existing(tx: Connection, tenant_id: UUID, new: NewJob) -> UUID:
    """The job that holds the unique key. The conflict waited for its transaction, so it is visible."""
    found: UUID = tx.execute(
        _EXISTING,
        {"tenant_id": tenant_id, "kind": new.job.spec.kind, "unique_key": new.unique_key},
    ).scalar_one()
    return found
