"""`millrace jobs`: the jobs of any tenant, looked at; and one of them, dealt with."""

import json
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.broker.topology import Queue
from app.errors import Unavailable
from app.ledger.state import State
from app.terminal import AsJson, answer, plain, safe, table, transaction, when

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(no_args_is_help=True, help="The jobs, of any tenant.")

JobId = Annotated[UUID, typer.Argument(metavar="JOB")]
Why = Annotated[str, typer.Option(help="Kept in the job's history, which its tenant sees.")]

MESSAGE_CHARS = 60
LIST_SECONDS = 10


@app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only these.")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as import.chunk.")] = None,
    queue: Annotated[Queue | None, typer.Option(help="Of that queue.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Name or id; all without it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show jobs, the newest first."""
    with transaction() as tx:
        found = _newest(tx, state, kind, queue, tenant, limit)
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    head = ("JOB", "STATE", "KIND", "QUEUE", "TRY", "DUE", "FINISHED", "TENANT", "")
    table(head, [_columns(job) for job in found])


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
def cancel(
    job_id: JobId, reason: Why = "Cancelled by an operator.", as_json: AsJson = False
) -> None:
    """End a job that has not ended; work that it has not committed is undone."""
    from app.aftermath import AFTERMATHS
    from app.operations.actor import Actor
    from app.operations.jobs import cancel as end

    with transaction() as tx:
        end(tx, Actor.at_the_command_line(), AFTERMATHS, job_id, reason=reason)
    answer({"id": job_id, "state": "cancelled"}, f"{job_id} is cancelled", as_json=as_json)


@app.command()
def retry(job_id: JobId, reason: Why = "Retried by an operator.", as_json: AsJson = False) -> None:
    """Run a dead job again, or have one that waits for its time begin now."""
    from app.aftermath import AFTERMATHS
    from app.jobs import CATALOG
    from app.operations.actor import Actor
    from app.operations.jobs import retry as run_again

    with transaction() as tx:
        actor = Actor.at_the_command_line()
        run_again(tx, actor, CATALOG, AFTERMATHS, job_id, reason=reason)
    answer({"id": job_id, "state": "scheduled"}, f"{job_id} runs again", as_json=as_json)


def _whole(tx: "Connection", job_id: UUID) -> dict[str, Any]:
    from sqlalchemy import select

    from app.ledger.cancel import missing
    from app.models.jobs import Job, JobHistory, Outbox

    parked = select(Outbox.parked).where(Outbox.job_id == Job.id).scalar_subquery()
    query = select(Job.__table__, parked.label("waits_for_key")).where(Job.id == job_id)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise missing(job_id)
    history = tx.execute(
        select(JobHistory.__table__).where(JobHistory.job_id == job_id).order_by(JobHistory.id)
    )
    return {
        **row._mapping,  # noqa: SLF001 - SQLAlchemy's public name for it
        "history": [dict(entry._mapping) for entry in history],  # noqa: SLF001
    }


def _newest(
    tx: "Connection",
    state: State | None,
    kind: str | None,
    queue: Queue | None,
    tenant: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Raises Unavailable when so few fit that all of the ledger would have to be read."""
    from sqlalchemy import select, text
    from sqlalchemy.exc import OperationalError

    from app.keys import find_tenant
    from app.models.jobs import Job
    from app.models.tenants import Tenant

    wanted = {"state": state, "kind": kind, "queue": queue}
    query = select(*(getattr(Job, name) for name in _LISTED), Tenant.name.label("tenant"))
    query = query.join(Tenant, Tenant.id == Job.tenant_id)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(Job, name) == str(value))
    if tenant is not None:
        query = query.where(Job.tenant_id == find_tenant(tx, tenant))
    tx.execute(text(f"SET LOCAL statement_timeout = '{LIST_SECONDS}s'"))
    try:
        rows = tx.execute(query.order_by(Job.id.desc()).limit(limit)).all()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") != _TOO_LONG:
            raise
        raise Unavailable(
            f"So few jobs fit that it takes longer than {LIST_SECONDS} s to find them. Name a --tenant, or "
            "ask for fewer with --limit."
        ) from None
    return [_listed(dict(row._mapping)) for row in rows]  # noqa: SLF001


_LISTED = (
    *("id", "tenant_id", "kind", "version", "queue", "state", "attempt", "max_attempts"),
    *("run_at", "created_at", "started_at", "finished_at", "worker", "error"),
)
_TOO_LONG = "57014"


def _listed(job: dict[str, Any]) -> dict[str, Any]:
    """Without the traceback, which `show` has."""
    error = job["error"]
    kept = error and {name: error.get(name) for name in ("code", "message", "type")}
    return {**job, "error": kept}


def _columns(job: dict[str, Any]) -> tuple[str, ...]:
    error = job["error"] or {}
    why = f"{error.get('code')}: {error.get('message') or ''}"[:MESSAGE_CHARS] if error else ""
    tries = f"{job['attempt']}/{job['max_attempts']}"
    times = (when(job["run_at"]), when(job["finished_at"]))
    facts = (str(job["id"]), job["state"], job["kind"], job["queue"], tries, *times)
    return (*facts, job["tenant"], why)
