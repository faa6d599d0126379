"""What a kind of job has to put right when one of its jobs ends without success, or begins again.

The ledger knows no concrete job; the product hands it a table of these (`app.aftermath`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from app.ledger.contract import JobContract, UnreadablePayload
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.job_error import JobError
from app.ledger.state import State
from app.logs import cause

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended: `state` is dead or cancelled."""

    state: State
    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """`ended(tx, job, ending)` runs in the transaction that ends the job, before the job's own row is
    touched; `revived(tx, job)` in the one that replays it. What they return is enqueued there.
    """

    contract: type[JobContract]
    ended: Callable[[Connection, Any, Ending], Sequence[JobContract]]
    revived: Callable[[Connection, Any], Sequence[JobContract]]


Aftermaths = Mapping[str, Aftermath]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The job that it is about, as the ledger has it."""

    id: UUID
    tenant_id: UUID
    kind: str
    version: int
    payload: dict[str, Any]
    traceparent: str | None


def follow_end(
    tx: Connection, aftermaths: Aftermaths, subject: Subject, ending: Ending
) -> list[UUID]:
    """Do what the kind needs done, and return the jobs that it began; a fault there is logged and does not
    keep the job from ending.

    Locks taken here come before the job's own row, as they do where a handler settles: so the two
    can't deadlock.
    """
    aftermath = aftermaths.get(subject.kind)
    if aftermath is None:
        return []
    try:
        with tx.begin_nested():
            job = aftermath.contract.read(subject.version, subject.payload)
            return _enqueue(tx, subject, aftermath.ended(tx, job, ending))
    except (OperationalError, InterfaceError):
        raise
    except UnreadablePayload as unreadable:
        log.warning("aftermath.unreadable", job_id=str(subject.id), error=cause(unreadable))
    except Exception:
        log.exception("aftermath.failed", job_id=str(subject.id), kind=subject.kind)
    return []


def follow_revival(tx: Connection, aftermaths: Aftermaths, subject: Subject) -> None:
    """The job is about to run again; raises whatever goes wrong."""
    aftermath = aftermaths.get(subject.kind)
    if aftermath is not None:
        job = aftermath.contract.read(subject.version, subject.payload)
        _enqueue(tx, subject, aftermath.revived(tx, job))


def _enqueue(tx: Connection, subject: Subject, jobs: Sequence[JobContract]) -> list[UUID]:
    if not jobs:
        return []
    made = enqueue_many(
        tx,
        subject.tenant_id,
        [NewJob(job=job) for job in jobs],
        parent_id=subject.id,
        traceparent=subject.traceparent,
    )
    return [one.id for one in made]
