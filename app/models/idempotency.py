"""Remembered answers to requests that carried an `Idempotency-Key`."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, TenantId


class IdempotencyKey(Base):
    """The answer that a key got, written in the same transaction as what the request created.

    `request_hash` is a SHA-256 in hex over all that makes the request what it is.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    location: Mapped[str]
    body: Mapped[Json]
    created_at: Mapped[CreatedAt]
