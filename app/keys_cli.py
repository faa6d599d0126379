"""`millrace keys`: the API keys of tenants, and of who runs the product."""

import json
from typing import Annotated
from uuid import UUID

import typer

from app.roles import Role
from app.terminal import AsJson, Why, answer, table, transaction, when

app = typer.Typer(no_args_is_help=True, help="Their API keys.")


@app.command("list")
def list_keys(
    tenant: Annotated[
        str | None, typer.Argument(help="Name or id; without it, everybody's.")
    ] = None,
    revoked: Annotated[bool, typer.Option(help="Also those that are out of force.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the keys, the newest first; of a key itself no more than its beginning is kept."""
    from app import keys as store

    with transaction() as tx:
        tenant_id = None if tenant is None else store.find_tenant(tx, tenant)
        found = store.list_keys(tx, tenant_id=tenant_id, revoked=revoked)
    if as_json:
        typer.echo(json.dumps([key._asdict() for key in found], default=str))
        return
    head = ("ID", "TENANT", "ROLE", "NAME", "BEGINS", "CREATED", "REVOKED")
    rows = [
        (
            str(key.id),
            key.tenant if key.role is Role.TENANT else "-",
            key.role.value,
            key.name,
            key.prefix,
            when(key.created_at),
            when(key.revoked_at),
        )
        for key in found
    ]
    table(head, rows)


@app.command("create")
def create_key(
    tenant: Annotated[
        str | None, typer.Argument(help="Name or id; none for who runs the product.")
    ] = None,
    name: Annotated[str, typer.Option(help="Whose it is, or what for.")] = "default",
    role: Annotated[
        Role, typer.Option(help="Viewers look, operators act, admins also change what stays.")
    ] = Role.TENANT,
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it, this once."""
    from app import keys as store
    from app.errors import Unprocessable
    from app.operations.access import MADE, make_key
    from app.operations.actor import Actor

    if (role is Role.TENANT) != (tenant is not None):
        raise Unprocessable(
            "A tenant's key needs the tenant; --role viewer, operator and admin go without one."
        )
    with transaction() as tx:
        tenant_id = None if tenant is None else store.find_tenant(tx, tenant)
        actor = Actor.at_the_command_line()
        key_id, key = make_key(tx, actor, tenant_id=tenant_id, name=name, role=role, reason=MADE)
    line = f"{key}\nKeep it: it is not shown again."
    answer({"id": key_id, "key": key}, line, as_json=as_json)


@app.command("revoke")
def revoke_key(
    key_id: UUID, reason: Why = "Revoked at the command line.", as_json: AsJson = False
) -> None:
    """Put a key out of force, and end the sessions that it opened."""
    from app.operations.access import revoke_key as revoke
    from app.operations.actor import Actor

    with transaction() as tx:
        revoke(tx, Actor.at_the_command_line(), key_id, reason=reason)
    answer({"id": key_id, "revoked": True}, f"{key_id} is revoked", as_json=as_json)
