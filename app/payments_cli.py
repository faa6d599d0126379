"""`millrace payments`: the payment provider's events."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.errors import Unprocessable
from app.terminal import transaction

app = typer.Typer(no_args_is_help=True, help="The payment provider's events.")


@app.callback()
def _group() -> None:
    """Keeps `replay` a command of its own."""


@app.command()
def replay(
    event: Annotated[str | None, typer.Option(help="One event, by the provider's id.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="All that were received since (UTC).")
    ] = None,
) -> None:
    """Have stored events applied again, of all tenants; safe to repeat: what was right stays as it is."""
    from uuid import UUID

    from app.payments.events import Choice, replay_events

    if (event is None) == (since is None):
        raise Unprocessable("Give either --event or --since.")
    moment = since.replace(tzinfo=UTC) if since else None
    total, last = 0, None
    while True:
        with transaction() as tx:
            ids: list[UUID] = replay_events(tx, Choice(event_id=event, since=moment), after=last)
        if not ids:
            break
        total, last = total + len(ids), ids[-1]
    typer.echo(f"{total} events will be applied again")
