"""What operators did, and who tried to sign in."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json


class AuditEntry(Base):
    """One action of an operator, written in the transaction of the action. Rows are only ever added: a
    trigger refuses every change, and the deletion of what is younger than 30 days.

    `object` and `object_id` say what it was done to; `tenant_id` whose that is, null where it is nobody's.
    No foreign keys: what it names may go before it does.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
        CheckConstraint("via IN ('console', 'api', 'cli')", name="via"),
        Index("ix_audit_log_at", "at"),
        Index("ix_audit_log_object_id", "object_id", "id"),
        Index("ix_audit_log_actor_id", "actor", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    at: Mapped[CreatedAt]
    actor: Mapped[str]
    key_id: Mapped[UUID | None]
    role: Mapped[str]
    via: Mapped[str]
    request_id: Mapped[str | None]
    action: Mapped[str]
    object: Mapped[str]
    object_id: Mapped[str]
    tenant_id: Mapped[UUID | None]
    reason: Mapped[str]
    facts: Mapped[Json | None]


class SignInFailure(Base):
    """A wrong key at the console's door, forgotten within the hour. `address` is that of the caller, of IPv6
    its network.
    """

    __tablename__ = "sign_in_failures"
    __table_args__ = (
        Index("ix_sign_in_failures_address_at", "address", "at"),
        Index("ix_sign_in_failures_at", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    address: Mapped[str]
    at: Mapped[CreatedAt]
