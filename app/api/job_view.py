"""A job as the API shows it. Payload, checkpoint and tracebacks stay inside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import (
    ARRAY,
    Connection,
    Row,
    Select,
    Uuid,
    any_,
    bindparam,
    false,
    func,
    or_,
    select,
)

from app.broker.topology import Queue
from app.db import rows_prepared
from app.errors import NotFound
from app.ledger.prerequisites import Otherwise
from app.ledger.state import State
from app.models.flows import JobWait
from app.models.jobs import Job, JobHistory, Outbox
from app.traces.spans import trace_id_of

MAX_SHOWN = 1000
"""Of the jobs that one waits for, so many are shown."""


class JobError(BaseModel):
    """Why an attempt didn't succeed; `type` is that of an exception."""

    code: str
    message: str
    type: str | None = None


class JobProgress(BaseModel):
    """In the job's own unit; `total` is null when the job doesn't know it."""

    done: int
    total: int | None


class JobView(BaseModel):
    """A job. `attempt` counts the attempts begun so far; none begins after `deadline`. `parent_id` is the
    job that began it, `batch_id` the batch that it belongs to. Of the jobs with its `concurrency_key` a few
    run at a time, one as a rule.
    """

    id: UUID
    kind: str
    version: int
    queue: Queue
    state: State
    attempt: int
    max_attempts: int
    run_at: datetime
    deadline: datetime | None
    parent_id: UUID | None
    batch_id: UUID | None
    unique_key: str | None
    concurrency_key: str | None
    progress: JobProgress | None
    error: JobError | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class HistoryEntry(BaseModel):
    """One change of state, and what brought it about."""

    at: datetime
    event: str
    from_state: State | None
    to_state: State
    attempt: int
    worker: str | None
    error: JobError | None


class Prerequisite(BaseModel):
    """A job that this one waits for, or waited for: `ended` is null until it has, and then its last state.
    `otherwise` is what becomes of this one when that isn't `succeeded`.
    """

    job_id: UUID
    ended: State | None
    otherwise: Otherwise


class JobDetail(JobView):
    """A job and its whole life, oldest first. `children` are the jobs that it began, by state; `trace_id` is
    the trace in which it was enqueued, where there is one. `unique_key_lapsed`: another job may have that key
    now. `waits_for_key`: it is due, and others hold its concurrency key or stand before it, or no dispatcher has looked yet.
    """

    trace_id: str | None
    unique_key_lapsed: bool
    waits_for_key: bool

    waits_for: list[Prerequisite]
    children: dict[State, int]
    history: list[HistoryEntry]


_COLUMNS = [
    *(
        getattr(Job, name)
        for name in JobView.model_fields
        if name not in {"progress", "unique_key"}
    ),
    func.coalesce(Job.unique_key, Job.lapsed_key).label("unique_key"),
    Job.progress_done,
    Job.progress_total,
]


_NEW = (
    select(*_COLUMNS, Job.traceparent)
    .add_columns(
        *(
            getattr(JobHistory, name).label(f"h_{name}")
            for name in HistoryEntry.model_fields
            if name != "error"
        )
    )
    .join(JobHistory, JobHistory.job_id == Job.id)
    .where(Job.id == any_(bindparam("job_ids", type_=ARRAY(Uuid))))
)


def select_jobs(tenant_id: UUID | None) -> Select[Any]:
    """What `view_of` needs of the tenant's jobs; None is everybody's."""
    query = select(*_COLUMNS)
    return query if tenant_id is None else query.where(Job.tenant_id == tenant_id)


def view_of(row: Row[Any]) -> JobView:
    """From a row of `select_jobs`."""
    return JobView(**_facts(row))


def load_job(tx: Connection, tenant_id: UUID | None, job_id: UUID) -> JobDetail:
    """The job with its history. Raises NotFound, also for another tenant's; None is any tenant's."""
    parked = select(Outbox.parked).where(Outbox.job_id == Job.id).scalar_subquery()
    lapsed = or_(Job.lapsed_key.is_not(None), Job.unique_lapses_at <= func.clock_timestamp())
    query = (
        select_jobs(tenant_id)
        .add_columns(
            Job.traceparent,
            func.coalesce(lapsed, false()).label("unique_key_lapsed"),
            func.coalesce(parked, false()).label("waits_for_key"),
        )
        .where(Job.id == job_id)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    history = tx.execute(
        select(JobHistory.__table__).where(JobHistory.job_id == job_id).order_by(JobHistory.id)
    )
    waits = tx.execute(
        select(JobWait.on_id.label("job_id"), JobWait.ended, JobWait.otherwise)
        .where(JobWait.job_id == job_id)
        .order_by(JobWait.on_id)
        .limit(MAX_SHOWN)
    )
    children = tx.execute(
        select(Job.state, func.count()).where(Job.parent_id == job_id).group_by(Job.state)
    )
    return JobDetail(
        **_facts(row),
        trace_id=trace_id_of(row.traceparent),
        waits_for=[Prerequisite(**one._mapping) for one in waits],  # noqa: SLF001
        children={State(state): number for state, number in children},
        history=[_entry(entry) for entry in history],
    )


def load_new_job(tx: Connection, job_id: UUID) -> JobDetail:
    """As `load_job`, by one statement, for a job that this transaction has made: it waits for none."""
    return load_new_jobs(tx, [job_id])[job_id]


def load_new_jobs(tx: Connection, job_ids: Sequence[UUID]) -> dict[UUID, JobDetail]:
    """As `load_new_job`, by id."""
    rows = rows_prepared(tx, _NEW, {"job_ids": list(job_ids)})
    return {row.id: _new(row) for row in rows}


def _new(row: Row[Any]) -> JobDetail:
    facts = _facts(row)
    entry = {name: facts.pop(f"h_{name}") for name in HistoryEntry.model_fields if name != "error"}
    traceparent = facts.pop("traceparent")
    return JobDetail(
        **facts,
        trace_id=trace_id_of(traceparent),
        unique_key_lapsed=False,
        waits_for_key=False,
        waits_for=[],
        children={},
        history=[HistoryEntry(**entry, error=None)],
    )


def _facts(row: Row[Any]) -> dict[str, Any]:
    facts = row._asdict()
    done = facts.pop("progress_done")
    total = facts.pop("progress_total")
    facts["progress"] = None if done is None else {"done": done, "total": total}
    return facts


def _entry(row: Row[Any]) -> HistoryEntry:
    facts = dict(row._mapping)  # noqa: SLF001
    return HistoryEntry(error=facts.pop("detail"), **facts)
