"""A customer of the local system."""

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
    # Imported here, so that the servers start a second sooner.
    from app.db import make_engine, transaction
    from app.errors import Unprocessable
    from app.keys import create_key, create_tenant, find_tenant
    from app.schedules.defaults import install_defaults
    from app.settings import Settings

    engine = make_engine(
        Settings.of(system.settings), pool_size=1, application_name="millrace-local"
    )
    with transaction(engine) as tx:
        try:
            tenant_id = create_tenant(tx, name=name, email=email)
        except Unprocessable:
            tenant_id = find_tenant(tx, name)
        install_defaults(tx)
        _, key = create_key(tx, tenant_id, name="local")
    engine.dispose()
    return Tenant(id=str(tenant_id), name=name, email=email, api_key=key)
