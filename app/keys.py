"""Tenants and API keys: made by an operator, checked on every request."""

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import func

from app.errors import NotFound, Unprocessable
from app.ids import new_id
from app.models import SYSTEM_TENANT, ApiKey, Tenant

PREFIX = "mr_"


class KeyInForce(NamedTuple):
    """What a key stands for."""

    key_id: UUID
    tenant_id: UUID


OPERATOR = "operator"
"""The role of keys that run the product, and open no customer's data."""


def create_tenant(
    tx: Connection,
    *,
    name: str,
    email: str,
    timezone: str = "UTC",
    trial_days: int | None = None,
) -> UUID:
    """A new tenant, on trial for `trial_days` if given. Raises Unprocessable when the name is taken."""
    trial = {} if trial_days is None else {"plan": "trial", "trial_ends_at": _in_days(trial_days)}
    created: UUID | None = tx.execute(
        upsert(Tenant)
        .values(id=new_id(), name=name, email=email, timezone=timezone, **trial)
        .on_conflict_do_nothing(index_elements=[Tenant.name])
        .returning(Tenant.id)
    ).scalar_one_or_none()
    if created is None:
        raise Unprocessable(f"There is a tenant called {name!r} already.", code="tenant_exists")
    return created


def find_tenant(tx: Connection, name_or_id: str) -> UUID:
    """The tenant of that name or id. Raises NotFound."""
    same = Tenant.name == name_or_id
    with suppress(ValueError):
        same = same | (Tenant.id == UUID(name_or_id))
    found: UUID | None = tx.execute(select(Tenant.id).where(same)).scalar_one_or_none()
    if found is None:
        raise NotFound(
            f"There is no tenant {name_or_id!r}. Create it: millrace tenants create NAME"
        )
    return found


def set_timezone(tx: Connection, tenant_id: UUID, timezone: str) -> None:
    """Where the tenant's days begin from now on."""
    tx.execute(update(Tenant).where(Tenant.id == tenant_id).values(timezone=timezone))


def create_key(tx: Connection, tenant_id: UUID, *, name: str) -> tuple[UUID, str]:
    """A new key: its id, and the key itself, which is shown this once and kept only as a hash."""
    return _create_key(tx, tenant_id, name=name, role="tenant")


def create_operator_key(tx: Connection, *, name: str) -> tuple[UUID, str]:
    """The same for an operator; it belongs to the system's own tenant."""
    return _create_key(tx, SYSTEM_TENANT, name=name, role=OPERATOR)


def _create_key(tx: Connection, tenant_id: UUID, *, name: str, role: str) -> tuple[UUID, str]:
    key = PREFIX + secrets.token_urlsafe(32)
    key_id = new_id()
    tx.execute(
        insert(ApiKey).values(
            id=key_id,
            tenant_id=tenant_id,
            name=name,
            prefix=key[: len(PREFIX) + 6],
            key_hash=_hash(key),
            role=role,
        )
    )
    return key_id, key


def revoke_key(tx: Connection, key_id: UUID) -> None:
    """Put the key out of force; it stays listed. Raises NotFound."""
    changed = tx.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    if changed.rowcount == 0:
        raise NotFound(f"There is no key {key_id} in force.")


def tenant_of(tx: Connection, key: str) -> UUID | None:
    """The tenant of a tenant's key in force; an operator's stands for none."""
    found = find_key(tx, key)
    return None if found is None else found.tenant_id


def find_key(tx: Connection, key: str) -> KeyInForce | None:
    """The tenant's key, if it is in force."""
    found = tx.execute(
        select(ApiKey.id, ApiKey.tenant_id).where(
            ApiKey.key_hash == _hash(key), ApiKey.revoked_at.is_(None), ApiKey.role != OPERATOR
        )
    ).one_or_none()
    return None if found is None else KeyInForce(*found)


def is_operator(tx: Connection, key: str) -> bool:
    """Whether it is an operator's key in force."""
    found = tx.execute(
        select(ApiKey.id).where(
            ApiKey.key_hash == _hash(key), ApiKey.revoked_at.is_(None), ApiKey.role == OPERATOR
        )
    )
    return found.one_or_none() is not None


def _in_days(days: int) -> ColumnElement[datetime]:
    """By the database's clock."""
    return func.clock_timestamp() + timedelta(days=days)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
