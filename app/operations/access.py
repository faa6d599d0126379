"""Keys: made and revoked, the console's door, and the key that seals secrets."""

from uuid import UUID

from sqlalchemy import Connection, select

from app import keys
from app.errors import NotFound
from app.ids import SYSTEM_TENANT
from app.keys import KeyInForce
from app.models.tenants import ApiKey
from app.operations.actor import Actor, Via
from app.operations.audit import Thing, record
from app.roles import Role

MADE = "Made at the command line."


def make_key(
    tx: Connection, actor: Actor, *, tenant_id: UUID | None, name: str, role: Role, reason: str
) -> tuple[UUID, str]:
    """A tenant's key, or without one an operator's: its id and the key, which is shown this once."""
    actor.require(Role.ADMIN)
    if tenant_id is None:
        key_id, key = keys.create_operator_key(tx, name=name, role=role)
    else:
        key_id, key = keys.create_key(tx, tenant_id, name=name)
    facts = {"role": role.value, **_named(tenant_id, name)}
    thing = Thing(object="key", id=str(key_id), tenant_id=tenant_id)
    record(tx, actor, "key.create", thing, reason=reason, facts=facts)
    return key_id, key


def revoke_key(
    tx: Connection, actor: Actor, key_id: UUID, *, reason: str, operators_only: bool = False
) -> UUID:
    """Put it out of force, and with it every session that it has opened. With `operators_only` a tenant's key
    isn't there. Returns the entry in the audit log. Raises Forbidden, NotFound.
    """
    actor.require(Role.ADMIN)
    row = tx.execute(select(ApiKey.tenant_id, ApiKey.name).where(ApiKey.id == key_id)).one_or_none()
    if row is None or (operators_only and row.tenant_id != SYSTEM_TENANT):
        raise NotFound(f"There is no key {key_id} in force.")
    keys.revoke_key(tx, key_id)
    thing = Thing(object="key", id=str(key_id), tenant_id=row.tenant_id)
    facts = _named(None if row.tenant_id == SYSTEM_TENANT else row.tenant_id, row.name)
    return record(tx, actor, "key.revoke", thing, reason=reason, facts=facts)


def resealing(tx: Connection, actor: Actor, *, reason: str) -> None:
    """Customers' secrets are about to be sealed with the newest key. Raises Forbidden, Unprocessable."""
    actor.require(Role.ADMIN)
    record(tx, actor, "secrets.reseal", Thing(object="secrets", id="all"), reason=reason)


def signed_in(tx: Connection, key: KeyInForce, request_id: str, *, address: str) -> None:
    """An operator has come in."""
    actor = Actor(
        name=key.name,
        role=key.role,
        via=Via.CONSOLE,
        key_id=key.key_id,
        request_id=request_id,
    )
    thing = Thing(object="key", id=str(key.key_id))
    record(tx, actor, "console.sign_in", thing, reason="Signed in.", facts={"address": address})


def _named(tenant_id: UUID | None, name: str) -> dict[str, str]:
    """An operator's key; a customer's may be called after a person, and the log outlives its tenant."""
    return {"name": name} if tenant_id is None else {}
