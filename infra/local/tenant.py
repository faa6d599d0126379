"""A customer of the local system: made with the operators' commands, as in production."""

import json
from dataclasses import dataclass

from infra.local.system import LocalSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """`api_key` is a secret."""

    id: str
    name: str
    email: str
    api_key: str


def make_tenant(system: LocalSystem, name: str, *, email: str) -> Tenant:
    """The tenant of that name, made where it is missing, with a new API key."""
    words = ("tenants", "create", name, "--email", email, "--if-missing", "--json")
    tenant = json.loads(system.run_command(*words))
    key = json.loads(system.run_command("keys", "create", tenant["id"], "--json"))
    return Tenant(id=tenant["id"], name=name, email=email, api_key=key["key"])
