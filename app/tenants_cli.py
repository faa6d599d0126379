"""`millrace tenants list` and `top`: who there is, and who is behind the queues."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.terminal import AsJson, table, transaction, when


def list_tenants(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the tenants by name."""
    from sqlalchemy import select

    from app.ids import SYSTEM_TENANT
    from app.models.tenants import Tenant

    shown = (Tenant.id, Tenant.name, Tenant.email, Tenant.timezone, Tenant.plan)
    query = select(*shown, Tenant.trial_ends_at, Tenant.created_at)
    with transaction() as tx:
        wanted = query.where(Tenant.id != SYSTEM_TENANT).order_by(Tenant.name).limit(limit)
        found = [dict(row._mapping) for row in tx.execute(wanted)]  # noqa: SLF001
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    head = ("NAME", "PLAN", "TRIAL ENDS", "ZONE", "MAIL", "SINCE", "ID")
    rows = [
        (
            each["name"],
            each["plan"],
            when(each["trial_ends_at"]),
            each["timezone"],
            each["email"],
            when(each["created_at"]),
            str(each["id"]),
        )
        for each in found
    ]
    table(head, rows)


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
