"""Tenants and API keys: made by an operator, checked on every request."""

import hashlib
import secrets
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import func

from app.db import rows_prepared
from app.errors import NotFound, Unprocessable
from app.ids import SYSTEM_TENANT, new_id
from app.models.tenants import ApiKey, Tenant
from app.roles import Role

PREFIX = "mr_"
MAX_LISTED = 500
MAX_NAME = 255


# Asked with every request.
_IN_FORCE = text("""
    SELECT key_hash, id, tenant_id, name, role FROM api_keys
    WHERE key_hash = ANY(:hashes) AND revoked_at IS NULL
""")


class KeyInForce(NamedTuple):
    """What a key stands for. Of an operator's the tenant is the system's own."""

    key_id: UUID
    tenant_id: UUID
    name: str
    role: Role


class ListedKey(NamedTuple):
    """A key as it may be shown; `tenant` is that one's name."""

    id: UUID
    tenant: str
    name: str
    prefix: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None


def create_tenant(
    tx: Connection,
    *,
    name: str,
    email: str,
    timezone: str = "UTC",
    trial_days: int | None = None,
) -> UUID:
    """A new tenant, on trial for `trial_days` if given. Raises Unprocessable when the name is taken, or none."""
    _check_name(name)
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


def _check_name(name: str) -> None:
    """A name stands in lines, in tables and in commands, beside ids."""
    with suppress(ValueError):
        UUID(name)
        raise Unprocessable(
            f"{name!r} is an id. Give the tenant another name.", code="invalid_name"
        )
    if not (name.isprintable() and name == name.strip() and 0 < len(name) <= MAX_NAME):
        raise Unprocessable(
            f"{name[:MAX_NAME]!r} is no name for a tenant. Give 1 to {MAX_NAME} characters, without line breaks "
            "and without spaces at its ends.",
            code="invalid_name",
        )


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
    return _create_key(tx, tenant_id, name=name, role=Role.TENANT)


def create_operator_key(
    tx: Connection, *, name: str, role: Role = Role.OPERATOR
) -> tuple[UUID, str]:
    """The same for who runs the product; it belongs to the system's own tenant."""
    if not role.runs_the_product:
        raise ValueError(f"{role} is no operator's role")
    return _create_key(tx, SYSTEM_TENANT, name=name, role=role)


def _create_key(tx: Connection, tenant_id: UUID, *, name: str, role: Role) -> tuple[UUID, str]:
    key = PREFIX + secrets.token_urlsafe(32)
    key_id = new_id()
    tx.execute(
        insert(ApiKey).values(
            id=key_id,
            tenant_id=tenant_id,
            name=name,
            prefix=key[: len(PREFIX) + 6],
            key_hash=_hash(key),
            role=role.value,
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
    return found.tenant_id if found is not None and found.role is Role.TENANT else None


def operator_of(tx: Connection, key: str) -> KeyInForce | None:
    """An operator's key, of whichever role, if it is in force."""
    found = find_key(tx, key)
    return found if found is not None and found.role.runs_the_product else None


def find_key(tx: Connection, key: str) -> KeyInForce | None:
    """The key, whosever it is, if it is in force."""
    return find_keys(tx, [key]).get(key)


def find_keys(tx: Connection, keys: Collection[str]) -> dict[str, KeyInForce]:
    """Those of the keys that are in force, whosever they are."""
    hashed = {_hash(key): key for key in keys}
    return {
        hashed[row.key_hash]: KeyInForce(row.id, row.tenant_id, row.name, Role(row.role))
        for row in rows_prepared(tx, _IN_FORCE, {"hashes": list(hashed)})
    }


def operator_keys(tx: Connection) -> list[ListedKey]:
    """All of them, the newest first; those out of force too."""
    return _listed(tx, ApiKey.role != Role.TENANT.value)


def list_keys(tx: Connection, *, tenant_id: UUID | None, revoked: bool) -> list[ListedKey]:
    """A tenant's, or everybody's, the newest first; at most MAX_LISTED. Those out of force only if `revoked`."""
    wanted = [] if tenant_id is None else [ApiKey.tenant_id == tenant_id]
    if not revoked:
        wanted.append(ApiKey.revoked_at.is_(None))
    return _listed(tx, *wanted)


def _listed(tx: Connection, *wanted: ColumnElement[bool]) -> list[ListedKey]:
    rows = tx.execute(
        select(
            ApiKey.id,
            Tenant.name,
            ApiKey.name,
            ApiKey.prefix,
            ApiKey.role,
            ApiKey.created_at,
            ApiKey.revoked_at,
        )
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(*wanted)
        .order_by(ApiKey.id.desc())
        .limit(MAX_LISTED)
    )
    return [ListedKey(*row[:4], Role(row.role), *row[5:]) for row in rows]


def _in_days(days: int) -> ColumnElement[datetime]:
    """By the database's clock."""
    return func.clock_timestamp() + timedelta(days=days)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
