"""Outgoing webhooks: endpoints, events, deliveries and their attempts."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class WebhookEndpoint(Base):
    """Where a tenant wants to be told. `events` are types, or `*`. The secrets sign what is sent and are
    never shown again; `failing_since` is the first failure after the last success. `pace` is how long the
    newest attempt took, which ended at `pace_at`; `timeouts` are those in a row.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("state IN ('enabled', 'disabled')", name="state"),
        CheckConstraint("pace IN ('unknown', 'quick', 'slow')", name="pace"),
        CheckConstraint("(state = 'disabled') = (disabled_at IS NOT NULL)", name="disabled_at"),
        Index("ix_webhook_endpoints_tenant_id_id", "tenant_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    events: Mapped[list[str]]
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_secret_until: Mapped[Timestamp | None]
    state: Mapped[str] = mapped_column(server_default="enabled")
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[Timestamp | None]
    failing_since: Mapped[Timestamp | None]
    pace: Mapped[str] = mapped_column(server_default="unknown")
    pace_at: Mapped[Timestamp] = mapped_column(server_default=text("'-infinity'"))
    timeouts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class WebhookEvent(Base):
    """Something that happened, as each endpoint is told it."""

    __tablename__ = "webhook_events"
    __table_args__ = (Index("ix_webhook_events_created_at", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    type: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """One event to one endpoint. A redelivery is another `run`, by another job; only the newest may send.
    `opened_at` is when the run began.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'failed', 'cancelled')", name="state"),
        Index("ix_webhook_deliveries_tenant_id_id", "tenant_id", "id"),
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_event_id", "event_id"),
        Index("ix_webhook_deliveries_finished_at", "finished_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    event_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_events.id", ondelete="CASCADE"))
    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    job_id: Mapped[UUID]
    run: Mapped[int] = mapped_column(server_default=text("1"))
    state: Mapped[str] = mapped_column(server_default="pending")
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[CreatedAt]
    opened_at: Mapped[CreatedAt]
    finished_at: Mapped[Timestamp | None]


class WebhookAttempt(Base):
    """One request. Without `status` and `error` it is under way, or its worker died."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        Index("ix_webhook_attempts_delivery_id_id", "delivery_id", "id"),
        Index(
            "ix_webhook_attempts_under_way",
            "at",
            postgresql_where=text("status IS NULL AND error IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_deliveries.id", ondelete="CASCADE")
    )
    number: Mapped[int]
    at: Mapped[CreatedAt]
    status: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int | None]
    excerpt: Mapped[str | None]
