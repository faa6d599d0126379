"""The ledger's tables. Only `app.ledger` writes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantRef, Timestamp


class Job(Base):
    """One piece of work. `attempt` counts the claims and is the fence: whoever holds the newest number
    owns the job, and every write about a running job is guarded by it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('scheduled', 'queued', 'running', 'succeeded', 'dead', 'cancelled')",
            name="state",
        ),
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
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    kind: Mapped[str]
    version: Mapped[int]
    queue: Mapped[str]
    state: Mapped[str]
    payload: Mapped[Json]
    attempt: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int]
    run_at: Mapped[Timestamp]
    unique_key: Mapped[str | None]
    parent_id: Mapped[UUID | None]
    traceparent: Mapped[str | None]
    progress_done: Mapped[int | None] = mapped_column(BigInteger)
    progress_total: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    queued_at: Mapped[Timestamp | None]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class JobHistory(Base):
    """One line per state change. Rows are only ever added, in the same statement as the change."""

    __tablename__ = "job_history"
    __table_args__ = (Index("ix_job_history_job_id_id", "job_id", "id"),)

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
    """A job that is to be published when `run_at` has come. At most one row per job; small and hot."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_queue_run_at", "queue", "run_at"),
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0.01",
                "autovacuum_vacuum_threshold": "1000",
            }
        },
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    queue: Mapped[str]
    run_at: Mapped[datetime]
