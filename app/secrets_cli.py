"""`millrace secrets`: customers' secrets at rest, when the key that seals them changes."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal import BY_COMMAND, AsJson, Why

if TYPE_CHECKING:
    from app.resealing import Resealed

SHOWN = 10

app = typer.Typer(no_args_is_help=True, help="Customers' secrets, sealed in the database.")


@app.callback()
def group() -> None:
    """Keeps `reseal` a command of its own, though it is the only one."""


@app.command()
def reseal(
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a transaction.")] = 200,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Seal every secret with the first of MILLRACE_SEALING_KEYS, so that the others may go. Safe to stop and
    to repeat; ends with status 1 where a secret can't be opened by any key.
    """
    from app.db import make_engine, transaction
    from app.errors import Unprocessable
    from app.operations.access import resealing
    from app.operations.actor import Actor
    from app.resealing import reseal as run
    from app.settings import get_settings

    settings = get_settings()
    engine = make_engine(settings, pool_size=1, application_name="millrace-cli")
    found: dict[tuple[str, str], Resealed] = {}
    try:
        if not dry_run:
            with transaction(engine) as tx:
                resealing(tx, Actor.at_the_command_line(), reason=reason)
        for step in run(engine, settings, dry_run=dry_run, batch=batch):
            found[step.table, step.column] = step
            done = step.resealed + step.newest + len(step.lost)
            typer.echo(f"{step.table}.{step.column}: {done} looked at", err=True)
    finally:
        engine.dispose()
    if as_json:
        facts = [{**asdict(each), "dry_run": dry_run} for each in found.values()]
        typer.echo(json.dumps(facts, default=str))
    else:
        for each in found.values():
            _print(each, "would be resealed" if dry_run else "resealed")
    lost = [str(one) for each in found.values() for one in each.lost]
    if lost:
        raise Unprocessable(
            f"No key opens {len(lost)} of them, such as those of {', '.join(lost[:SHOWN])}. Put "
            "their old key back behind the others, or have them set again."
        )


def _print(each: "Resealed", verb: str) -> None:
    name = f"{each.table}.{each.column}"
    typer.echo(f"{name}: {each.resealed} {verb}, {each.newest} were, {len(each.lost)} lost")
