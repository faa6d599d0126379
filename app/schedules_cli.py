"""`millrace schedules`: an operator's view of every tenant's schedules and the product's own."""

import json
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.errors import Unprocessable
from app.terminal import BY_COMMAND, BY_OPERATOR, AsJson, Why, answer, table, transaction

if TYPE_CHECKING:
    from sqlalchemy import Connection

if TYPE_CHECKING:
    from app.schedules.store import Schedule

app = typer.Typer(no_args_is_help=True, help="Jobs by the clock.")

Name = Annotated[str, typer.Argument(help="Name or id.")]
Tenant = Annotated[
    str | None, typer.Option(help="Name or id; without it, the product's own schedules.")
]
Cron = Annotated[str, typer.Option(help="Five fields, such as '0 8 * * *'.")]
NewPayload = Annotated[str, typer.Option(help="The job's payload as JSON.")]
NewTimezone = Annotated[str | None, typer.Option(help="IANA name; the tenant's own without it.")]
Missed = Annotated[str, typer.Option(help="What to do about missed slots: none, last or all.")]
TENANTS_OWN = "tenant"


@app.command("list")
def list_schedules(
    tenant: Annotated[str | None, typer.Option(help="Name or id; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show schedules and when they run next."""
    from app.keys import find_tenant
    from app.schedules.store import page

    with transaction() as tx:
        found = page(tx, find_tenant(tx, tenant) if tenant else None)
    if as_json:
        typer.echo(json.dumps([_facts(schedule) for schedule in found]))
        return
    head = ("TENANT", "NAME", "KIND", "CRON", "ZONE", "NEXT", "LAST")
    table(head, [_columns(schedule) for schedule in found])


@app.command()
def add(
    name: str,
    kind: Annotated[str, typer.Option(help="Of the job, such as report.daily.")],
    cron: Cron,
    payload: NewPayload = "{}",
    timezone: NewTimezone = None,
    catch_up: Missed = "last",
    paused: bool = False,
    tenant: Tenant = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Add a schedule."""
    from app.jobs import CATALOG
    from app.operations import schedules
    from app.operations.actor import Actor
    from app.schedules.store import NewSchedule

    new = NewSchedule(
        name=name,
        kind=kind,
        payload=_payload(payload),
        cron=cron,
        timezone=timezone,
        catch_up=_catch_up(catch_up),
        paused=paused,
    )
    with transaction() as tx:
        tenant_id = _tenant(tx, tenant)
        actor = Actor.at_the_command_line()
        made = schedules.add(tx, actor, tenant_id, CATALOG, new, reason=reason)
        _show(tx, tenant_id, made, as_json=as_json)


@app.command()
def edit(
    name: Name,
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '0 8 * * *'.")] = None,
    payload: Annotated[str | None, typer.Option(help="The job's payload as JSON.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help=f"IANA name, or '{TENANTS_OWN}' for the tenant's own.")
    ] = None,
    catch_up: Annotated[str | None, typer.Option(help="none, last or all.")] = None,
    tenant: Tenant = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Change what is given and leave the rest; in force at once."""
    changes: dict[str, Any] = {}
    if cron is not None:
        changes["cron"] = cron
    if payload is not None:
        changes["payload"] = _payload(payload)
    if timezone is not None:
        changes["timezone"] = None if timezone == TENANTS_OWN else timezone
    if catch_up is not None:
        changes["catch_up"] = _catch_up(catch_up)
    _change(name, tenant, changes, reason=reason, as_json=as_json)


@app.command()
def pause(
    name: Name,
    tenant: Tenant = None,
    reason: Annotated[
        str, typer.Option(help="Kept in the audit log; its tenant sees it.")
    ] = BY_OPERATOR,
    as_json: AsJson = False,
) -> None:
    """Fire no slot until an operator resumes it; slots of that time are not made up for."""
    _change(name, tenant, {"paused": True}, reason=reason, as_json=as_json)


@app.command()
def resume(
    name: Name, tenant: Tenant = None, reason: Why = BY_COMMAND, as_json: AsJson = False
) -> None:
    """Go on with the next slot."""
    _change(name, tenant, {"paused": False}, reason=reason, as_json=as_json)


@app.command()
def run(
    name: Name, tenant: Tenant = None, reason: Why = BY_COMMAND, as_json: AsJson = False
) -> None:
    """Run its job once, now, beside its slots."""
    from app.jobs import CATALOG
    from app.operations.actor import Actor
    from app.operations.schedules import run_now
    from app.schedules.store import find

    with transaction() as tx:
        tenant_id = _tenant(tx, tenant)
        actor, found = Actor.at_the_command_line(), find(tx, tenant_id, name)
        job_id, _ = run_now(tx, actor, tenant_id, found, CATALOG, reason=reason)
    typer.echo(json.dumps({"job_id": str(job_id)}) if as_json else f"{name} runs as job {job_id}")


@app.command()
def delete(
    name: Name, tenant: Tenant = None, reason: Why = BY_COMMAND, as_json: AsJson = False
) -> None:
    """Delete it; jobs that it has made go on."""
    from app.operations.actor import Actor
    from app.operations.schedules import delete as forget
    from app.schedules.store import find

    with transaction() as tx:
        tenant_id = _tenant(tx, tenant)
        schedule_id = find(tx, tenant_id, name)
        actor = Actor.at_the_command_line()
        forget(tx, actor, tenant_id, schedule_id, reason=reason)
    answer({"id": schedule_id, "deleted": True}, f"{name} is deleted", as_json=as_json)


def _change(
    name: str, tenant: str | None, changes: dict[str, Any], *, reason: str, as_json: bool
) -> None:
    from app.jobs import CATALOG
    from app.operations.actor import Actor
    from app.operations.schedules import change
    from app.schedules.store import find

    with transaction() as tx:
        tenant_id = _tenant(tx, tenant)
        schedule_id = find(tx, tenant_id, name)
        actor = Actor.at_the_command_line()
        change(tx, actor, tenant_id, schedule_id, CATALOG, changes, reason=reason)
        _show(tx, tenant_id, schedule_id, as_json=as_json)


def _tenant(tx: "Connection", name: str | None) -> UUID:
    from app.ids import SYSTEM_TENANT
    from app.keys import find_tenant

    return SYSTEM_TENANT if name is None else find_tenant(tx, name)


def _payload(words: str) -> dict[str, Any]:
    try:
        payload = json.loads(words)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise Unprocessable(f"The payload must be a JSON object, such as {{}}, and not {words!r}.")
    return payload


def _catch_up(word: str) -> Any:
    from app.schedules.catch_up import CatchUp

    try:
        return CatchUp(word)
    except ValueError:
        raise Unprocessable(
            f"Missed slots are caught up by 'none', 'last' or 'all', and not by {word!r}."
        ) from None


def _show(tx: "Connection", tenant_id: UUID, schedule_id: UUID, *, as_json: bool) -> None:
    from app.schedules.store import load

    schedule = load(tx, tenant_id, schedule_id)
    runs = ", ".join(run.isoformat(" ", "minutes") for run in schedule.next_runs(3))
    line = f"{schedule.name}: " + (f"runs {runs}" if runs else "paused")
    typer.echo(json.dumps(_facts(schedule)) if as_json else line)


def _facts(schedule: "Schedule") -> dict[str, Any]:
    last = schedule.last_run
    return {
        "id": str(schedule.id),
        "tenant": schedule.tenant,
        "name": schedule.name,
        "kind": schedule.kind,
        "payload": schedule.payload,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "effective_timezone": schedule.zone,
        "catch_up": schedule.catch_up.value,
        "paused": schedule.paused_at is not None,
        "error": schedule.error,
        "next_runs": [run.isoformat() for run in schedule.next_runs()],
        "last_run": last and {"job_id": str(last.job_id), "state": last.state},
    }


def _columns(schedule: "Schedule") -> tuple[str, ...]:
    runs = schedule.next_runs(1)
    if runs:
        ahead = runs[0].isoformat(" ", "minutes")
    else:
        ahead = f"paused: {schedule.error['message']}" if schedule.error else "paused"
    last = schedule.last_run
    return (
        schedule.tenant,
        schedule.name,
        schedule.kind,
        schedule.cron,
        schedule.zone,
        ahead,
        (last.state or "pruned") if last else "never",
    )
