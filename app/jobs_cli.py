"""`millrace jobs`: one job of any tenant, looked at or dealt with."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from app.terminal import AsJson, plain, safe, transaction, when

app = typer.Typer(no_args_is_help=True, help="One job, of any tenant.")

JobId = Annotated[UUID, typer.Argument(metavar="JOB")]
Why = Annotated[str, typer.Option(help="Kept in the job's history, which its tenant sees.")]


@app.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show all that the ledger has about a job: payload, checkpoint, error and history."""
    with transaction() as tx:
        job = _whole(tx, job_id)
    if as_json:
        typer.echo(json.dumps(job, default=str))
        return
    history: list[dict[str, Any]] = job.pop("history")
    error: dict[str, str] = job.pop("error") or {}
    for name, value in job.items():
        if value is not None:
            shown = json.dumps(value) if isinstance(value, dict) else plain(str(value))
            typer.echo(f"{name:<14} {shown}")
    typer.echo()
    for entry in history:
        detail = entry["detail"] or {}
        words = (entry["event"], f"-> {entry['to_state']}", f"attempt {entry['attempt']}")
        why = f"{detail.get('code', '')}: {detail.get('message', '')}" if detail else ""
        tail = [entry["worker"] or "", plain(why)]
        typer.echo("  ".join([when(entry["at"]), *words, *filter(None, tail)]))
    if "traceback" in error:
        typer.echo("\n" + safe(error["traceback"]).rstrip())


@app.command()
def cancel(job_id: JobId, reason: Why = "Cancelled by an operator.") -> None:
    """End a job that has not ended; work that it has not committed is undone."""
    from app.aftermath import AFTERMATHS
    from app.ledger.cancel import cancel as end

    with transaction() as tx:
        end(tx, AFTERMATHS, None, job_id, reason=reason)
    typer.echo(f"{job_id} is cancelled")


@app.command()
def retry(job_id: JobId, reason: Why = "Retried by an operator.") -> None:
    """Run a dead job again, or have one that waits for its time begin now."""
    from app.aftermath import AFTERMATHS
    from app.jobs import CATALOG
    from app.ledger.replay import retry_job

    with transaction() as tx:
        retry_job(tx, CATALOG, AFTERMATHS, None, job_id, reason=reason)
    typer.echo(f"{job_id} runs again")


def _whole(tx: Connection, job_id: UUID) -> dict[str, Any]:
    from sqlalchemy import select

    from app.ledger.cancel import missing
    from app.models import Job, JobHistory

    row = tx.execute(select(Job.__table__).where(Job.id == job_id)).one_or_none()
    if row is None:
        raise missing(job_id)
    history = tx.execute(
        select(JobHistory.__table__).where(JobHistory.job_id == job_id).order_by(JobHistory.id)
    )
    return {
        **row._mapping,  # noqa: SLF001 - SQLAlchemy's public name for it
        "history": [dict(entry._mapping) for entry in history],  # noqa: SLF001
    }
