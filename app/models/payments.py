"""What the payment provider told us, and the subscriptions that follow from it."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, Timestamp


class PaymentEvent(Base):
    """An event as it came: `body` is what was signed, byte for byte. `created` is the provider's time.
    `tenant_id` is null until it is known whose the customer is.
    """

    __tablename__ = "payment_events"
    __table_args__ = (
        CheckConstraint(
            "state IN ('received', 'applied', 'waiting', 'ignored', 'refused')", name="state"
        ),
        Index("ix_payment_events_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_payment_events_waiting", "customer_id", postgresql_where=text("state = 'waiting'")
        ),
        Index("ix_payment_events_received_at", "received_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]
    created: Mapped[Timestamp]
    customer_id: Mapped[str | None]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(server_default="received")
    problem: Mapped[str | None]
    received_at: Mapped[CreatedAt]
    applied_at: Mapped[Timestamp | None]
    mailed_at: Mapped[Timestamp | None]


class PaymentCustomer(Base):
    """Whose a customer of the provider's is."""

    __tablename__ = "payment_customers"
    __table_args__ = (Index("ix_payment_customers_tenant_id", "tenant_id"),)

    customer_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    created_at: Mapped[CreatedAt]


class Subscription(Base):
    """A subscription of the provider's, as its newest events show it. `state_*` and `payment_*` (at, rank,
    event) are the key of the event that each facet is from. `has_granted`: some event showed it in force.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (Index("ix_subscriptions_tenant_id", "tenant_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    provider_id: Mapped[str] = mapped_column(unique=True)
    customer_id: Mapped[str]
    status: Mapped[str | None]
    is_deleted: Mapped[bool] = mapped_column(server_default=text("false"))
    has_granted: Mapped[bool] = mapped_column(server_default=text("false"))
    plan: Mapped[str | None]
    price_id: Mapped[str | None]
    quantity: Mapped[int | None]
    current_period_end: Mapped[Timestamp | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(server_default=text("false"))
    state_at: Mapped[Timestamp | None]
    state_rank: Mapped[int | None]
    state_event: Mapped[str | None]
    payment_status: Mapped[str | None]
    invoice_id: Mapped[str | None]
    amount_due_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None]
    hosted_invoice_url: Mapped[str | None]
    payment_at: Mapped[Timestamp | None]
    payment_rank: Mapped[int | None]
    payment_event: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
