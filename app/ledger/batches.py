"""Batches: jobs that belong together, with progress, a window, and jobs that follow when all have ended.

A batch's counters are spread over shards, so that children which end at the same time seldom meet; the one
that ends the last child of the last shard ends the batch, in the same commit (migration `flows`).

Its outcome: `succeeded` when every child has; `failed` when one is dead; else `cancelled`. Each time that a
batch ends, so also after a replay of a dead child, `on_success` or else `on_failure` is enqueued, and
`on_completion` either way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import randrange
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import Conflict, NotFound
from app.ids import new_id
from app.ledger.contract import JobContract
from app.ledger.enqueue import Enqueued, NewJob, Place, concurrency_facts, enqueue_many
from app.traces import spans

SHARDS = 16
"""As many children may end at the same instant without waiting for each other, with some luck."""
PLACES_PER_SHARD = 16
"""A window's places are divided among the shards; few shards keep all of them in use to the end."""

_OPEN = text("""
    INSERT INTO batches (id, tenant_id, name, parent_id, "window", shards, callbacks, traceparent)
    VALUES (:id, :tenant_id, :name, :parent_id, :window, :shards, CAST(:callbacks AS jsonb),
            :traceparent)
""")
_ADD_SHARDS = text("""
    INSERT INTO batch_shards (batch_id, shard, share)
    SELECT :id, number, CAST(:window AS int) / :shards
                        + (number < CAST(:window AS int) % :shards)::int
    FROM generate_series(0, :shards - 1) AS number
""")
_LOAD = text("""
    SELECT tenant_id, "window", shards, traceparent FROM batches WHERE id = :id
""")
# Shard by shard in order, then the batch: as a child that ends takes its own shard and then the batch.
_LOCK_SHARDS = text("""
    SELECT shard FROM batch_shards WHERE batch_id = :id ORDER BY shard FOR NO KEY UPDATE
""")
_COUNT = text("""
    WITH more AS (
        SELECT batch_shard AS shard, count(*) AS jobs FROM jobs WHERE id = ANY(:job_ids) GROUP BY 1
    ), counted AS (
        UPDATE batch_shards s SET total = total + more.jobs, open = open + more.jobs FROM more
        WHERE s.batch_id = :id AND s.shard = more.shard
        RETURNING old.open = 0 AS was_empty
    )
    UPDATE batches
    SET open_shards = open_shards + (SELECT count(*) FROM counted WHERE was_empty)
    WHERE id = :id AND finished_at IS NULL AND cancelled_at IS NULL
""")
_FILL = text("""
    SELECT flow_fill(batch_id, shard) FROM batch_shards WHERE batch_id = :id AND share IS NOT NULL
""")
_CLOSE = text("""
    UPDATE batches SET closed_at = coalesce(closed_at, clock_timestamp()) WHERE id = :id RETURNING id
""")
_COMPLETE = text("SELECT flow_complete(:id)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch to be. `window`: at most so many of its jobs are with the workers or due at once, the others
    wait; such jobs can't wait for other jobs as well.
    """

    jobs: Sequence[JobContract | NewJob] = ()
    name: str = ""
    window: int | None = None
    on_success: JobContract | None = None
    on_failure: JobContract | None = None
    on_completion: JobContract | None = None
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError(f"a window has at least one place: {self.window}")

    @property
    def callbacks(self) -> list[dict[str, Any]]:
        """What follows, as the database keeps it."""
        moments = (
            ("success", self.on_success),
            ("failure", self.on_failure),
            ("completion", self.on_completion),
        )
        return [_callback(moment, job) for moment, job in moments if job is not None]


def enqueue_batch(
    tx: Connection,
    tenant_id: UUID,
    batch: Batch,
    *,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
) -> UUID:
    """Open the batch with its jobs, and close it: it ends when they have. One without jobs ends here."""
    open_batch(tx, tenant_id, batch, parent_id=parent_id, traceparent=traceparent)
    close_batch(tx, batch.id)
    return batch.id


def open_batch(
    tx: Connection,
    tenant_id: UUID,
    batch: Batch,
    *,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
) -> UUID:
    """Open the batch with its first jobs. It doesn't end before it is closed."""
    shards = SHARDS
    if batch.window is not None:
        shards = max(1, min(SHARDS, batch.window // PLACES_PER_SHARD))
    facts = {"id": batch.id, "window": batch.window, "shards": shards}
    tx.execute(
        _OPEN,
        {
            **facts,
            "tenant_id": tenant_id,
            "name": batch.name,
            "parent_id": parent_id,
            "callbacks": json.dumps(batch.callbacks),
            "traceparent": spans.carried() or traceparent,
        },
    )
    tx.execute(_ADD_SHARDS, facts)
    add_to_batch(tx, batch.id, batch.jobs, parent_id=parent_id)
    return batch.id


def add_to_batch(
    tx: Connection,
    batch_id: UUID,
    jobs: Sequence[JobContract | NewJob],
    *,
    parent_id: UUID | None = None,
    tenant_id: UUID | None = None,
) -> list[Enqueued]:
    """Add jobs to a batch that has not ended; also to a closed one, which one of its own children may do
    without a race. A job whose unique key is taken is not added. The jobs are the batch's tenant's; with
    `tenant_id` that one's, which is for batches of the product's own.

    Raises NotFound, and Conflict when the batch has ended or was cancelled: nothing is added then.
    """
    batch = tx.execute(_LOAD, {"id": batch_id}).one_or_none()
    if batch is None:
        raise missing(batch_id)
    if not jobs:
        return []
    crowded = batch.window is not None
    new = [job if isinstance(job, NewJob) else NewJob(job=job) for job in jobs]
    if crowded and any(one.after or _in_order(one.job) for one in new):
        raise ValueError("a job in a batch with a window can't wait for other jobs as well")
    place = Place(
        batch_id=batch_id,
        shards=batch.shards,
        first=randrange(batch.shards),  # noqa: S311
        crowded=crowded,
    )
    with tx.begin_nested():
        made = enqueue_many(
            tx,
            tenant_id or batch.tenant_id,
            new,
            parent_id=parent_id,
            traceparent=batch.traceparent,
            place=place,
        )
        tx.execute(_LOCK_SHARDS, {"id": batch_id})
        ids = [one.id for one in made if one.created]
        if tx.execute(_COUNT, {"id": batch_id, "job_ids": ids}).rowcount == 0:
            raise Conflict(f"Batch {batch_id} has ended; open another one.")
        if crowded:
            tx.execute(_FILL, {"id": batch_id})
    return made


def _in_order(job: JobContract) -> bool:
    concurrency = job.spec.concurrency
    return concurrency is not None and concurrency.in_order


def close_batch(tx: Connection, batch_id: UUID) -> None:
    """No more jobs are to come: the batch ends with its last one, or here when all have ended already."""
    tx.execute(_LOCK_SHARDS, {"id": batch_id})
    if tx.execute(_CLOSE, {"id": batch_id}).one_or_none() is None:
        raise missing(batch_id)
    tx.execute(_COMPLETE, {"id": batch_id})


def missing(batch_id: UUID) -> NotFound:
    """What to raise for a batch that isn't there, or is another tenant's."""
    return NotFound(f"There is no batch {batch_id}.")


def _callback(moment: str, job: JobContract) -> dict[str, Any]:
    spec = job.spec
    return {
        "moment": moment,
        "kind": spec.kind,
        "version": spec.version,
        "queue": spec.queue.value,
        "payload": job.model_dump(mode="json"),
        "max_attempts": spec.retry.attempts,
        **concurrency_facts(job),
    }
