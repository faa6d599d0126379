"""Jobs that wait for others, and jobs that belong together. Only `app.ledger` writes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, SmallInteger, Uuid, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantRef, Timestamp

_SMALL_AND_HOT = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
}


class Waiting(Base):
    """A job that is `waiting`: for `waits_for` others, or for a place in its batch's window.

    `doom` says that one of those others has ended without success, and what is to become of the job.
    """

    __tablename__ = "waiting"
    __table_args__ = (
        CheckConstraint("waits_for >= 0", name="waits_for"),
        Index(
            "ix_waiting_batch_id_shard_job_id",
            "batch_id",
            "shard",
            "job_id",
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index("ix_waiting_doomed", "job_id", postgresql_where=text("doom IS NOT NULL")),
        {"postgresql_with": _SMALL_AND_HOT},
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    batch_id: Mapped[UUID | None]
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    waits_for: Mapped[int]
    doom: Mapped[str | None]


class JobWait(Base):
    """`job_id` waits, or waited, for the end of `on_id`; `ended` is the state in which that has ended.

    `otherwise` is what becomes of the one that waits when that isn't `succeeded`: run, die or cancel.
    """

    __tablename__ = "job_waits"
    __table_args__ = (
        CheckConstraint("otherwise IN ('run', 'die', 'cancel')", name="otherwise"),
        Index("ix_job_waits_on_id", "on_id"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    on_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantRef]
    otherwise: Mapped[str]
    ended: Mapped[str | None]


class Batch(Base):
    """Jobs that belong together. It ends when it is closed and none of its shards is open; then what
    `callbacks` names is enqueued, and kept track of in `callback_ids`.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name="state"),
        CheckConstraint("open_shards >= 0", name="open_shards"),
        Index("ix_batches_tenant_id_id", "tenant_id", "id"),
        Index("ix_batches_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    name: Mapped[str]
    parent_id: Mapped[UUID | None]
    state: Mapped[str] = mapped_column(server_default="running")
    window: Mapped[int | None]
    shards: Mapped[int]
    open_shards: Mapped[int] = mapped_column(server_default="0")
    callbacks: Mapped[list[Json]] = mapped_column(JSONB)
    callback_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), server_default="{}")
    traceparent: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    closed_at: Mapped[Timestamp | None]
    cancelled_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class BatchShard(Base):
    """A batch's counters, a part of them: a child that ends locks its own shard, and not the batch.

    `share` is the shard's part of the window, null without one; `placed` how many children have a place.
    """

    __tablename__ = "batch_shards"
    __table_args__ = (
        CheckConstraint("open >= 0 AND placed >= 0", name="counts"),
        {"postgresql_with": {"fillfactor": "50", **_SMALL_AND_HOT}},
    )

    batch_id: Mapped[UUID] = mapped_column(primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    share: Mapped[int | None]
    total: Mapped[int] = mapped_column(server_default="0")
    open: Mapped[int] = mapped_column(server_default="0")
    placed: Mapped[int] = mapped_column(server_default="0")
    succeeded: Mapped[int] = mapped_column(server_default="0")
    dead: Mapped[int] = mapped_column(server_default="0")
    cancelled: Mapped[int] = mapped_column(server_default="0")


class Cancellation(Base):
    """A cancel on its way to the children of a job or batch; gone when it has reached them all.

    It goes through them by id: `after` is where it is, `again` says that it has to come back for some.
    """

    __tablename__ = "cancellations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    job_id: Mapped[UUID | None]
    batch_id: Mapped[UUID | None]
    reason: Mapped[str]
    spared: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), server_default="{}")
    after: Mapped[UUID | None]
    again: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
