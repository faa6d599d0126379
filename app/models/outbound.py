"""What all processes know together about other people's servers: how often they may be asked, and whether
asking makes sense.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantId, Timestamp

_HOT = {"fillfactor": "50", "autovacuum_vacuum_threshold": "1000"}
"""Changed many times a second, and in no indexed column: new versions fit beside the old ones."""


def _times() -> Mapped[list[datetime]]:
    return mapped_column(ARRAY(DateTime(timezone=True)), server_default=text("'{}'"))


class RateLimit(Base):
    """At most `per_window` requests in any `window_seconds`. One row says all: who may ask next is decided
    by one UPDATE. Only `app.outbound.limiter` writes it.
    """

    __tablename__ = "rate_limits"
    __table_args__ = (
        CheckConstraint("per_window BETWEEN 1 AND 500", name="per_window"),
        CheckConstraint("window_seconds > 0 AND hold_seconds > window_seconds", name="seconds"),
        {"postgresql_with": _HOT},
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    per_window: Mapped[int]
    window_seconds: Mapped[float]
    hold_seconds: Mapped[float]
    """How long a request counts when nobody says what became of it."""
    pending: Mapped[list[datetime]] = _times()
    """When the requests whose answer isn't here yet may begin, or might have begun; no two are alike."""
    cooling: Mapped[list[datetime]] = _times()
    """Until when the answered requests count."""
    next_at: Mapped[Timestamp] = mapped_column(server_default=text("'-infinity'"))
    """No request begins before this: what paces them."""
    blocked_until: Mapped[Timestamp] = mapped_column(server_default=text("'-infinity'"))
    """What the server asked for by `Retry-After`."""
    granted: Mapped[list[datetime]] = _times()
    """The newest reservation's answer: when its requests may begin."""
    earliest: Mapped[Timestamp | None]
    """And when its first could have begun at the earliest."""


class CircuitBreaker(Base):
    """Whether a server is worth asking. `era` counts the changes of state; `trips` how often it has opened
    without being well in between. Only `app.outbound.breaker` writes it.
    """

    __tablename__ = "circuit_breakers"
    __table_args__ = (
        CheckConstraint("state IN ('closed', 'open', 'half_open')", name="state"),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="closed")
    era: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[list[datetime]] = _times()
    """The newest failures in a row, until the server is well."""
    trips: Mapped[int] = mapped_column(server_default="0")
    changed_at: Mapped[CreatedAt]
    retry_at: Mapped[Timestamp | None]
    """When an open one lets the next probe through."""
    probe_until: Mapped[Timestamp | None]
    """When a half-open one gives its probe up."""
    reason: Mapped[str | None]
    """What the newest failure was."""


class CircuitChange(Base):
    """One line per change of state, written by the statement that makes it."""

    __tablename__ = "circuit_changes"
    __table_args__ = (
        Index("ix_circuit_changes_tenant_id_scope_id", "tenant_id", "scope", "id"),
        Index("ix_circuit_changes_at", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    scope: Mapped[str]
    at: Mapped[CreatedAt]
    from_state: Mapped[str]
    to_state: Mapped[str]
    reason: Mapped[str | None]
