"""The ledger's tables. Only `app.ledger` writes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantRef, Timestamp

_HOT = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}
"""Small tables that every job goes in and out of: dead rows in them slow the dispatcher down."""
_LARGE = {"autovacuum_vacuum_scale_factor": "0.01", "autovacuum_vacuum_threshold": "5000"}
"""A fifth of a month's jobs, PostgreSQL's own factor, would be a week's dead rows. See docs/upkeep.md."""


class Job(Base):
    """One piece of work. `attempt` counts the claims and is the fence: whoever holds the newest number
    owns the job, and every write about a running job is guarded by it. Of an `awaited` job others wait
    for the end. A `unique_key` that has lapsed is the `lapsed_key`.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'scheduled', 'queued', 'running', 'succeeded', 'dead', 'cancelled')",
            name="state",
        ),
        CheckConstraint("unique_until IN ('published', 'ended')", name="unique_until"),
        CheckConstraint("attempt >= 0 AND max_attempts >= 1", name="attempts"),
        Index(
            "uq_jobs_unique_key",
            "tenant_id",
            "kind",
            "unique_key",
            unique=True,
            postgresql_where=text("unique_key IS NOT NULL"),
        ),
        Index("ix_jobs_tenant_id_id", "tenant_id", "id"),
        Index("ix_jobs_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index(
            "ix_jobs_batch_id_id", "batch_id", "id", postgresql_where=text("batch_id IS NOT NULL")
        ),
        {"postgresql_with": {"fillfactor": "50", **_LARGE}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    kind: Mapped[str]
    version: Mapped[int]
    queue: Mapped[str]
    state: Mapped[str]
    payload: Mapped[Json]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    priority_given: Mapped[bool] = mapped_column(server_default=false())
    attempt: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int]
    run_at: Mapped[Timestamp]
    deadline: Mapped[Timestamp | None]
    unique_key: Mapped[str | None]
    unique_until: Mapped[str | None]
    unique_lapses_at: Mapped[Timestamp | None]
    lapsed_key: Mapped[str | None]
    debounce_until: Mapped[Timestamp | None]
    concurrency_key: Mapped[str | None]
    concurrency_limit: Mapped[int | None] = mapped_column(SmallInteger)
    in_order: Mapped[bool] = mapped_column(server_default=false())
    key_given: Mapped[bool] = mapped_column(server_default=false())
    parent_id: Mapped[UUID | None]
    batch_id: Mapped[UUID | None]
    batch_shard: Mapped[int | None] = mapped_column(SmallInteger)
    awaited: Mapped[bool] = mapped_column(server_default=false())
    traceparent: Mapped[str | None]
    progress_done: Mapped[int | None] = mapped_column(BigInteger)
    progress_total: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    error: Mapped[Json | None]
    checkpoint: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    queued_at: Mapped[Timestamp | None]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class JobHistory(Base):
    """One line per state change. Rows are only ever added, in the same statement as the change."""

    __tablename__ = "job_history"
    __table_args__ = (
        Index("ix_job_history_job_id_id", "job_id", "id"),
        {"postgresql_with": _LARGE},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    tenant_id: Mapped[TenantRef]
    job_id: Mapped[UUID]
    at: Mapped[CreatedAt]
    event: Mapped[str]
    from_state: Mapped[str | None]
    to_state: Mapped[str]
    attempt: Mapped[int]
    worker: Mapped[str | None]
    detail: Mapped[Json | None]


class Outbox(Base):
    """A job that is to be published when `run_at` has come. At most one row per job.

    It is `ready` once that has been seen: only then are its kind and priority known here, and only then is
    it in the index that the dispatcher goes through, tenant by tenant. What is for later isn't in its way,
    nor what is `parked`: due, and waiting for its concurrency key. What is ready holds its key.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_ready",
            "queue",
            "tenant_id",
            "kind",
            "priority",
            "run_at",
            postgresql_where=text("ready"),
        ),
        Index("ix_outbox_later", "run_at", postgresql_where=text("NOT ready AND NOT parked")),
        Index(
            "ix_outbox_parked",
            "tenant_id",
            "concurrency_key",
            "priority",
            "run_at",
            postgresql_where=text("parked AND NOT in_order"),
        ),
        Index(
            "ix_outbox_ready_key",
            "tenant_id",
            "concurrency_key",
            postgresql_where=text("ready AND concurrency_key IS NOT NULL"),
        ),
        {"postgresql_with": _HOT},
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    queue: Mapped[str]
    run_at: Mapped[datetime]
    ready: Mapped[bool] = mapped_column(server_default=false())
    kind: Mapped[str] = mapped_column(server_default="")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    parked: Mapped[bool] = mapped_column(server_default=false())
    concurrency_key: Mapped[str | None]
    concurrency_limit: Mapped[int | None] = mapped_column(SmallInteger)
    in_order: Mapped[bool] = mapped_column(server_default=false())


class InFlight(Base):
    """A job that is `queued` or `running`: out of the outbox and not ended. Small and hot; whoever looks
    for jobs that got stuck looks here, and not through all jobs. It holds its concurrency key.
    """

    __tablename__ = "in_flight"
    __table_args__ = (
        Index(
            "ix_in_flight_key",
            "tenant_id",
            "concurrency_key",
            postgresql_where=text("concurrency_key IS NOT NULL"),
        ),
        {"postgresql_with": _HOT},
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    queue: Mapped[str]
    kind: Mapped[str]
    attempt: Mapped[int]
    queued_at: Mapped[datetime]
    concurrency_key: Mapped[str | None]


class KeyWake(Base):
    """Word for the dispatcher that a concurrency key may have somebody to let in. Written by the enqueue, and by whatever
    frees the key, in the same commit (migration `concurrency_keys`); gone with the look that somebody takes.
    """

    __tablename__ = "key_wakes"
    __table_args__ = ({"postgresql_with": _HOT},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    tenant_id: Mapped[TenantRef]
    concurrency_key: Mapped[str]


class KeyLine(Base):
    """A job that has not ended, in the line of its key: of those that run in order the first that was made is next,
    whatever it is doing. When that was is by the database's clock: ids are by the clocks of many processes.
    """

    __tablename__ = "key_lines"
    __table_args__ = (
        Index("ix_key_lines_place", "tenant_id", "concurrency_key", "made_at", "job_id"),
        {"postgresql_with": _HOT},
    )

    tenant_id: Mapped[TenantRef]
    concurrency_key: Mapped[str]
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    made_at: Mapped[Timestamp] = mapped_column(server_default=func.clock_timestamp())


class Deadline(Base):
    """When to look whether a job has begun in time; gone once somebody has looked."""

    __tablename__ = "deadlines"
    __table_args__ = (Index("ix_deadlines_deadline", "deadline"),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    deadline: Mapped[datetime]


class Effect(Base):
    """Something done outside the database, once: the intent, and later its result."""

    __tablename__ = "effects"

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    begun_at: Mapped[datetime]
    done_at: Mapped[Timestamp | None]
    result: Mapped[Json | None]


class Lock(Base):
    """A named lock and who has it: that attempt of that job, for as long as it is running.

    The row outlives them for a while. `token` only ever rises, also of a name that was forgotten: it comes from a sequence
    of all locks.
    """

    __tablename__ = "locks"

    tenant_id: Mapped[TenantRef] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID | None]
    attempt: Mapped[int | None]
    token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    acquired_at: Mapped[Timestamp | None] = mapped_column(index=True)
