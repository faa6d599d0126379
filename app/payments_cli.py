"""`millrace payments`: the payment provider's events."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.errors import Unprocessable
from app.plurals import counted
from app.terminal import BY_COMMAND, AsJson, Why, answer, transaction

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
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Have stored events applied again, of all tenants; safe to repeat: what was right stays as it is."""
    from app.operations import payments
    from app.operations.actor import Actor
    from app.payments.events import Choice

    if (event is None) == (since is None):
        raise Unprocessable("Give either --event or --since.")
    moment = since.replace(tzinfo=UTC) if since else None
    choice = Choice(event_id=event, since=moment)
    actor, total, last = Actor.at_the_command_line(), 0, None
    while True:
        with transaction() as tx:
            ids = payments.replay(tx, actor, choice, after=last, reason=reason)
        if not ids:
            break
        total, last = total + len(ids), ids[-1]
    answer({"replayed": total}, f"{counted(total, 'event')} will be applied again", as_json=as_json)
