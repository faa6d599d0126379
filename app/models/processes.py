"""The product's own processes, as far as they tell."""

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json


class ProcessSeen(Base):
    """A dispatcher or a worker that was there at `seen_at`. `chores` is when each of a dispatcher's last went
    well, in seconds since 1970.
    """

    __tablename__ = "processes"
    __table_args__ = (
        CheckConstraint("role IN ('dispatcher', 'worker')", name="role"),
        Index("ix_processes_seen_at", "seen_at"),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    queues: Mapped[str] = mapped_column(server_default="")
    slots: Mapped[int] = mapped_column(server_default="0")
    chores: Mapped[Json | None]
    started_at: Mapped[CreatedAt]
    seen_at: Mapped[CreatedAt]
