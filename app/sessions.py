"""Console sessions: an API key, shown once, becomes a cookie that is good for some hours.

The cookie's token is 256 bits of randomness and kept only as a hash. A session ends with its time, with
its sign-out, and with the key that opened it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.sql import func

from app.keys import KeyInForce, find_key
from app.models.console import ConsoleSession
from app.models.tenants import ApiKey, Tenant
from app.roles import Role

LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is signed in. Everyone with a tenant's key may do everything in that tenant; what an operator may
    do is said by the role, and the tenant is the system's own.
    """

    tenant_id: UUID
    tenant_name: str
    key_id: UUID
    key_name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session: its token, which is shown this once, and the key that opened it."""

    token: str
    key: KeyInForce


def open_session(tx: Connection, key: str) -> Opened | None:
    """None when the key is unknown or revoked."""
    found = find_key(tx, key)
    if found is None:
        return None
    token = secrets.token_urlsafe(32)
    now = func.clock_timestamp()
    tx.execute(delete(ConsoleSession).where(ConsoleSession.expires_at <= now))
    tx.execute(
        insert(ConsoleSession).values(
            token_hash=_hash(token),
            tenant_id=found.tenant_id,
            key_id=found.key_id,
            expires_at=now + LIFETIME,
        )
    )
    return Opened(token, found)


def session_of(tx: Connection, token: str) -> Session | None:
    """The session of that token, unless it is over."""
    row = tx.execute(
        select(
            ConsoleSession.tenant_id,
            Tenant.name.label("tenant_name"),
            ConsoleSession.key_id,
            ApiKey.name.label("key_name"),
            ApiKey.role,
        )
        .join(Tenant, Tenant.id == ConsoleSession.tenant_id)
        .join(ApiKey, ApiKey.id == ConsoleSession.key_id)
        .where(
            ConsoleSession.token_hash == _hash(token),
            ConsoleSession.expires_at > func.clock_timestamp(),
            ApiKey.revoked_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return None
    return Session(**{**row._mapping, "role": Role(row.role)})  # noqa: SLF001 - SQLAlchemy's public name


def end_session(tx: Connection, token: str) -> None:
    """Sign out; ending what has ended is no error."""
    tx.execute(delete(ConsoleSession).where(ConsoleSession.token_hash == _hash(token)))


def csrf_token(token: str) -> str:
    """What our own pages send along with each change. It follows from the session's token and gives
    nothing of it away.
    """
    return hashlib.sha256(b"csrf:" + token.encode()).hexdigest()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
