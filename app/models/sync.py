"""Other systems that a tenant's contacts are kept in step with."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, Json, TenantId, TenantRef, Timestamp


class RemoteConnection(Base):
    """A remote account. `cursor` is where a sweep over its contacts stands, null between sweeps; `since` is
    what the next or the running sweep asks for, null for everything; `seen_until` the newest change seen in
    the running one.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'paused')", name="state"),
        CheckConstraint("deletes IN ('keep', 'mirror')", name="deletes"),
        CheckConstraint("per_second BETWEEN 1 AND 100", name="per_second"),
        Index("ix_connections_tenant_id_id", "tenant_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    base_url: Mapped[str]
    token: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed, see app.sealing."""
    push: Mapped[bool]
    """Whether our changes go there; theirs come here in any case."""
    deletes: Mapped[str]
    per_second: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="active")
    error: Mapped[Json | None]
    """Why it was paused, where nobody asked for that."""
    cursor: Mapped[str | None]
    since: Mapped[Timestamp | None]
    seen_until: Mapped[Timestamp | None]
    synced_at: Mapped[Timestamp | None]
    """When a run last succeeded."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class SyncRun(Base):
    """One pull and push of a connection; a connection has at most one that hasn't ended."""

    __tablename__ = "sync_runs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
        ),
        Index(
            "uq_sync_runs_connection_id",
            "connection_id",
            unique=True,
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_sync_runs_finished_at", "finished_at"),
        Index("ix_sync_runs_connection_id_id", "connection_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    connection_id: Mapped[UUID] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(server_default="queued")
    counts: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    error: Mapped[Json | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class SyncLink(Base):
    """A contact here and its twin there. `base` holds the twin's fields as we last knew them: what differs
    from it here is ours to send, what differs from it there is theirs to take.

    `seen` is the local row's `updated_at` that has been dealt with, null when there is something to send.
    `pending` is a change that is being sent: recorded before the call, gone with its answer. A link that is
    `gone` stands for a contact that was deleted on one side and kept on the other.
    """

    __tablename__ = "sync_links"
    __table_args__ = (
        Index("uq_sync_links_connection_id_remote_id", "connection_id", "remote_id", unique=True),
        Index("uq_sync_links_connection_id_contact_id", "connection_id", "contact_id", unique=True),
        Index(
            "ix_sync_links_connection_id_pending",
            "connection_id",
            postgresql_where=text("pending IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    connection_id: Mapped[UUID] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    contact_id: Mapped[UUID]
    remote_id: Mapped[str | None]
    version: Mapped[str | None]
    """The twin's, as its server calls it."""
    base: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    seen: Mapped[Timestamp | None]
    pending: Mapped[Json | None]
    changes: Mapped[int] = mapped_column(server_default="0")
    """How many changes have been sent; with the id it is the next one's idempotency key."""
    gone: Mapped[bool] = mapped_column(server_default=text("false"))
    updated_at: Mapped[CreatedAt]
