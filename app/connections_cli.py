"""`millrace connections`: other systems that contacts are kept in step with, of any tenant."""

import json
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from app.terminal import (
    BY_COMMAND,
    BY_OPERATOR,
    AsJson,
    Why,
    answer,
    plain,
    table,
    transaction,
    when,
)

app = typer.Typer(no_args_is_help=True, help="Connections to other systems, of any tenant.")

ConnectionId = Annotated[UUID, typer.Argument(metavar="CONNECTION")]
MAX_LISTED = 1000


@app.command("list")
def list_connections(
    tenant: Annotated[str | None, typer.Argument(help="Name or id; without it, all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show connections, the newest first, and why one is paused."""
    from app.keys import find_tenant
    from app.sync import connections

    with transaction() as tx:
        found = (
            connections.every(tx, limit=MAX_LISTED)
            if tenant is None
            else connections.page(tx, find_tenant(tx, tenant), before=None, limit=MAX_LISTED)
        )
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    rows = [
        (
            str(each.id),
            str(each.tenant_id),
            each.state,
            when(each.synced_at),
            each.name,
            plain((each.error or {}).get("message", "")),
        )
        for each in found
    ]
    table(("CONNECTION", "TENANT", "STATE", "SYNCED", "NAME", ""), rows)


@app.command()
def pause(
    connection_id: ConnectionId,
    reason: Annotated[
        str, typer.Option(help="Kept in the audit log; its tenant sees it.")
    ] = BY_OPERATOR,
    as_json: AsJson = False,
) -> None:
    """Begin no more runs of it until an operator resumes it; one that is at work ends with its next job."""
    from app.operations import connections
    from app.operations.actor import Actor

    with transaction() as tx:
        connections.pause(tx, Actor.at_the_command_line(), connection_id, reason=reason)
    facts = {"id": connection_id, "state": "paused"}
    answer(facts, f"{connection_id} is paused", as_json=as_json)


@app.command()
def resume(connection_id: ConnectionId, reason: Why = BY_COMMAND, as_json: AsJson = False) -> None:
    """Let it run again. A token that its server refuses pauses it again: the tenant has to set a new one."""
    from app.operations import connections
    from app.operations.actor import Actor
    from app.settings import get_settings

    with transaction() as tx:
        actor = Actor.at_the_command_line()
        connections.resume(tx, actor, get_settings(), connection_id, reason=reason)
    facts = {"id": connection_id, "state": "active"}
    answer(facts, f"{connection_id} is active", as_json=as_json)


@app.command()
def run(connection_id: ConnectionId, reason: Why = BY_COMMAND, as_json: AsJson = False) -> None:
    """Begin a run, or name the one that hasn't ended."""
    from app.operations import connections
    from app.operations.actor import Actor

    with transaction() as tx:
        made = connections.run(tx, Actor.at_the_command_line(), connection_id, reason=reason)
    facts = {"id": made.id, "connection_id": made.connection_id, "state": made.state}
    answer(facts, f"run {made.id} is {made.state}", as_json=as_json)
