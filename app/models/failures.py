"""What failed for good: one dead letter a death, grouped into incidents by their cause."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, Timestamp


class Incident(Base):
    """All deaths of one cause: same kind, same error, same place in the code.

    `count` counts deaths ever seen, `reopened` how often it came back after it was resolved or ignored.
    """

    __tablename__ = "incidents"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'resolved', 'ignored')", name="state"),
        UniqueConstraint("fingerprint"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    fingerprint: Mapped[str]
    kind: Mapped[str | None]
    code: Mapped[str]
    error_type: Mapped[str | None]
    frame: Mapped[str | None]
    message: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    ignored_until: Mapped[Timestamp | None]
    closed_at: Mapped[Timestamp | None]
    note: Mapped[str | None]
    reopened: Mapped[int] = mapped_column(server_default="0")


class DeadLetter(Base):
    """One death of one job, or a message that belongs to none (`job_id` is null, and so is the tenant).
    A job has at most one that no replay has closed.

    `body`, `headers` and `x_death` are the message as the broker gave it back, if one came.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="state"),
        UniqueConstraint("message_key"),
        Index(
            "uq_dead_letters_job_id",
            "job_id",
            unique=True,
            postgresql_where=text("job_id IS NOT NULL AND state <> 'replayed'"),
        ),
        Index("ix_dead_letters_job_id", "job_id"),
        Index("ix_dead_letters_incident_id_tenant_id_id", "incident_id", "tenant_id", "id"),
        Index(
            "ix_dead_letters_open",
            "tenant_id",
            "incident_id",
            "id",
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incidents.id"))
    job_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID | None]
    kind: Mapped[str | None]
    queue: Mapped[str | None]
    code: Mapped[str]
    error: Mapped[Json]
    attempt: Mapped[int | None]
    first_failed_at: Mapped[datetime]
    last_failed_at: Mapped[datetime]
    body: Mapped[str | None]
    headers: Mapped[Json | None]
    x_death: Mapped[list[str] | None]
    message_key: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="open")
    closed_at: Mapped[Timestamp | None]
    closed_reason: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class TaskError(Base):
    """Why a plain Celery task failed, until its message comes as a dead letter. Plain tasks have no tenant."""

    __tablename__ = "task_errors"
    __table_args__ = (Index("ix_task_errors_created_at", "created_at"),)

    task_id: Mapped[str] = mapped_column(primary_key=True)
    error: Mapped[Json]
    created_at: Mapped[CreatedAt]
