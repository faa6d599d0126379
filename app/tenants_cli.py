"""`millrace tenants top`: who is behind the queues."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.terminal import AsJson, table, transaction


def top(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the tenants with the most work due or under way. Metrics name no tenant; this does."""
    from app.ledger.depth import top_tenants

    with transaction() as tx:
        found = top_tenants(tx, limit=limit)
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "tenant_id": str(one.tenant_id)} for one in found]))
        return
    head = ["TENANT", "DUE", "LATER", "IN FLIGHT", "DEAD LETTERS", "OLDEST", "ID"]
    rows = [
        [
            one.name,
            f"{one.due:,}",
            f"{one.later:,}",
            f"{one.in_flight:,}",
            f"{one.dead:,}",
            f"{one.oldest_seconds:,.0f} s",
            str(one.tenant_id),
        ]
        for one in found
    ]
    table(head, rows)
