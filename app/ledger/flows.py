"""Chains and fan-ins, enqueued up front: from any transaction, or as what a handler's `Done` names."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from app.ledger.batches import Batch, enqueue_batch
from app.ledger.contract import JobContract
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.prerequisites import Otherwise


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other: each job waits for the one before it."""

    jobs: Sequence[JobContract]
    otherwise: Otherwise = Otherwise.DIE


@dataclass(frozen=True, slots=True)
class FanIn:
    """All of `jobs` side by side, then `then`. They meet at one row when they end: for more than some
    hundred use a Batch with a callback.
    """

    jobs: Sequence[JobContract]
    then: JobContract
    otherwise: Otherwise = Otherwise.DIE


Flow = JobContract | NewJob | Chain | FanIn | Batch
"""What can be enqueued."""


def enqueue_flows(
    tx: Connection,
    tenant_id: UUID,
    flows: Sequence[Flow],
    *,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
) -> list[UUID]:
    """Add all of it to the transaction `tx`; returns the ids of the jobs, but for those of batches."""
    ids: list[UUID] = []
    plain: list[NewJob] = []

    def add(jobs: Sequence[NewJob]) -> list[UUID]:
        made = enqueue_many(tx, tenant_id, jobs, parent_id=parent_id, traceparent=traceparent)
        ids.extend(one.id for one in made)
        return [one.id for one in made]

    for flow in flows:
        match flow:
            case Chain(jobs, otherwise):
                before: list[UUID] = []
                for job in jobs:
                    before = add([NewJob(job=job, after=before, otherwise=otherwise)])
            case FanIn(jobs, then, otherwise):
                before = add([NewJob(job=job) for job in jobs])
                add([NewJob(job=then, after=before, otherwise=otherwise)])
            case Batch():
                enqueue_batch(tx, tenant_id, flow, parent_id=parent_id, traceparent=traceparent)
            case NewJob():
                plain.append(flow)
            case _:
                plain.append(NewJob(job=flow))
    if plain:
        add(plain)
    return ids
