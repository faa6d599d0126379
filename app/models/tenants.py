"""Tenants and their API keys."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, Timestamp


class Tenant(Base):
    """A customer. `email` is where notifications about the tenant's work go; `timezone` (IANA) says when
    its days begin.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("plan IN ('trial', 'active', 'expired')", name="plan"),
        CheckConstraint("plan <> 'trial' OR trial_ends_at IS NOT NULL", name="trial_ends"),
        Index("ix_tenants_trial_ends_at", "trial_ends_at", postgresql_where=text("plan = 'trial'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    plan: Mapped[str] = mapped_column(server_default="active")
    trial_ends_at: Mapped[Timestamp | None]
    trial_warned_for: Mapped[Timestamp | None]
    """The end of the trial that the tenant has been reminded of; a trial that is prolonged has another."""
    mail_secret: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    """What the unsubscribe links in its mails are signed with."""
    defaults_version: Mapped[int] = mapped_column(server_default="0")
    """Up to where the schedules that everyone gets have been installed; what was deleted since stays so."""
    import_max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """The largest file that is taken; null means the settings' default, here and below."""
    import_max_rows: Mapped[int | None] = mapped_column(BigInteger)
    import_max_open: Mapped[int | None]
    """How many imports may be queued or running at once."""
    ai_monthly_budget: Mapped[Decimal | None] = mapped_column(Numeric(20, 10))
    """What language models may cost it in a calendar month (UTC)."""
    created_at: Mapped[CreatedAt]


class ApiKey(Base):
    """A key, hashed at rest: `key_hash` is the SHA-256 of the whole key, in hex.

    A plain hash is enough because the key is 256 bits of randomness, not a password. `prefix` is the
    part that may be shown again, so that a person can tell their keys apart. The keys of viewers, operators
    and admins are the system tenant's: see `app.keys.Role`.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("role IN ('tenant', 'viewer', 'operator', 'admin')", name="role"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId] = mapped_column(index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(server_default="tenant")
    created_at: Mapped[CreatedAt]
    revoked_at: Mapped[Timestamp | None]
