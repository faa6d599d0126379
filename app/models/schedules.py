"""Schedules, and the slots that have been fired."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, Timestamp


class Schedule(Base):
    """A job by the clock. `timezone` null means the tenant's own; `next_at` is the first slot that is not
    fired yet, null while it is paused. `error` says why it was paused, where nobody asked for that.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("catch_up IN ('none', 'last', 'all')", name="catch_up"),
        CheckConstraint("(paused_at IS NULL) = (next_at IS NOT NULL)", name="next_unless_paused"),
        Index("ix_schedules_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_schedules_tenant_id_id", "tenant_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    kind: Mapped[str]
    version: Mapped[int]
    """The contract's version that the payload was written for."""
    payload: Mapped[Json]
    cron: Mapped[str]
    timezone: Mapped[str | None]
    catch_up: Mapped[str]
    paused_at: Mapped[Timestamp | None]
    error: Mapped[Json | None]
    next_at: Mapped[Timestamp | None]
    last_slot_at: Mapped[Timestamp | None]
    last_job_id: Mapped[UUID | None]
    """The newest job, by a slot or by hand."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class ScheduleSlot(Base):
    """A slot that was fired: the primary key is what makes it one job. No foreign key to the job: jobs
    are pruned on their own.
    """

    __tablename__ = "schedule_slots"
    __table_args__ = (
        Index("ix_schedule_slots_job_id", "job_id"),
        Index("ix_schedule_slots_slot_at", "slot_at"),
    )

    schedule_id: Mapped[UUID] = mapped_column(
        ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True
    )
    slot_at: Mapped[Timestamp] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
