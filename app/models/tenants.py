"""Tenants and their API keys."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, Timestamp


class Tenant(Base):
    """A customer. `email` is where notifications about the tenant's work go."""

    __tablename__ = "tenants"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    created_at: Mapped[CreatedAt]


class ApiKey(Base):
    """A key, hashed at rest: `key_hash` is the SHA-256 of the whole key, in hex.

    A plain hash is enough because the key is 256 bits of randomness, not a password. `prefix` is the
    part that may be shown again, so that a person can tell their keys apart.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId] = mapped_column(index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    revoked_at: Mapped[Timestamp | None]
