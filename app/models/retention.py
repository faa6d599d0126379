"""How long ended things are kept, where that isn't what the release says."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, TenantId


class Retention(Base):
    """Days that a tenant keeps one kind of thing: see app.retention. The system tenant's rows hold for all
    tenants that have none of their own.
    """

    __tablename__ = "retention"
    __table_args__ = (CheckConstraint("days >= 1", name="days"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int]
