"""Tenants with a key in force."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import Engine

from app.keys import create_key, create_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A tenant: `key` is its API key, `email` where its mail goes."""

    id: UUID
    email: str
    key: str
    key_id: UUID


def make_customer(engine: Engine) -> Customer:
    """A new tenant with a name, an address and a key of its own."""
    name = f"tenant-{uuid4().hex[:12]}"
    email = f"{name}@example.com"
    with engine.begin() as tx:
        tenant_id = create_tenant(tx, name=name, email=email)
        key_id, key = create_key(tx, tenant_id, name="test")
    return Customer(id=tenant_id, email=email, key=key, key_id=key_id)
