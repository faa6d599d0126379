"""`millrace batches`: one batch of any tenant, looked at or cancelled."""

import json
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from app.terminal import AsJson, answer, plain, transaction

app = typer.Typer(no_args_is_help=True, help="One batch of jobs, of any tenant.")

BatchId = Annotated[UUID, typer.Argument(metavar="BATCH")]
Why = Annotated[
    str, typer.Option(help="Kept in the audit log, and with each job, where its tenant sees it.")
]


@app.command()
def show(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Show how far a batch is."""
    from app.ledger.progress import load_batch

    with transaction() as tx:
        facts = asdict(load_batch(tx, None, batch_id))
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    facts["callback_ids"] = " ".join(str(one) for one in facts["callback_ids"]) or None
    for name, value in facts.items():
        if value is not None:
            typer.echo(f"{name:<14} {plain(str(value))}")


@app.command()
def cancel(
    batch_id: BatchId, reason: Why = "Cancelled by an operator.", as_json: AsJson = False
) -> None:
    """Cancel all jobs of a batch that have not ended; the dispatcher reaches them within seconds."""
    from app.operations.actor import Actor
    from app.operations.jobs import cancel_batch

    with transaction() as tx:
        cancel_batch(tx, Actor.at_the_command_line(), batch_id, reason=reason)
    facts = {"id": batch_id, "cancelling": True}
    answer(facts, f"{batch_id} is being cancelled", as_json=as_json)
