"""Who is served when: the rules, and the backlog as it was last measured. Only `app.ledger` writes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Timestamp


class DispatchRule(Base):
    """What an operator has decided about a queue, a kind, a tenant (by its id) or a plan.

    Small: the dispatcher reads all of it in every round.
    """

    __tablename__ = "dispatch_rules"
    __table_args__ = (
        CheckConstraint("scope IN ('queue', 'kind', 'tenant', 'plan')", name="scope"),
        CheckConstraint("max_running >= 0", name="max_running"),
        CheckConstraint("weight BETWEEN 1 AND 100", name="weight"),
    )

    scope: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[Timestamp | None]
    paused_reason: Mapped[str | None]
    max_running: Mapped[int | None]
    """How many of its jobs may be with the broker or a worker at once."""
    weight: Mapped[int | None]
    """How many jobs a tenant has in its turn, where others have one."""


class Backlog(Base):
    """What a tenant had in the outbox for a queue at `measured_at`; a row a tenant that had anything."""

    __tablename__ = "backlog"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    ready: Mapped[int] = mapped_column(BigInteger)
    later: Mapped[int] = mapped_column(BigInteger)
    oldest: Mapped[Timestamp | None]
    measured_at: Mapped[datetime]
