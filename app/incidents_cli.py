"""`millrace incidents`: what failed for good, over all tenants, and what to do about it."""

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.errors import Unprocessable
from app.plurals import counted
from app.terminal import AsJson, answer, plain, safe, table, transaction, when

if TYPE_CHECKING:
    from app.ledger.letters import IncidentFacts, Letter
    from app.ledger.replay import DeadFilter

app = typer.Typer(no_args_is_help=True, help="What failed for good, over all tenants.")

MESSAGE_CHARS = 80
MIN_REASON_CHARS = 3

Jobs = Annotated[list[UUID] | None, typer.Option("--job", help="A job's id; repeatable.")]
Incident = Annotated[UUID | None, typer.Option(help="An incident's id.")]
Kind = Annotated[str | None, typer.Option(help="Such as import.chunk.")]
OfQueue = Annotated[str | None, typer.Option("--queue", help="high, default or low.")]
Code = Annotated[str | None, typer.Option(help="The error's, such as worker_lost.")]
Since = Annotated[str | None, typer.Option(help="Died then or later: ISO 8601, UTC by default.")]
Until = Annotated[str | None, typer.Option(help="Died before that.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Name or id.")]
Everything = Annotated[bool, typer.Option("--all", help="Whatever is dead.")]
DryRun = Annotated[bool, typer.Option(help="Only say what would be done.")]
Note = Annotated[str, typer.Option(help="What was found out; kept with the incident.")]


@app.command("list")
def list_incidents(
    state: Annotated[str | None, typer.Option(help="open, resolved or ignored.")] = None,
    kind: Kind = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show incidents: the deaths of one cause together, the one seen last first."""
    from app.ledger.letters import incidents

    with transaction() as tx:
        found = incidents(tx, state=state, kind=kind, limit=limit)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    head = ("INCIDENT", "STATE", "SEEN", "OPEN", "TENANTS", "FIRST", "LAST", "KIND", "CODE", "")
    table(head, [_columns(each) for each in found])


@app.command()
def show(
    incident_id: Annotated[UUID, typer.Argument(metavar="INCIDENT")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many letters.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show an incident and its newest letters: traceback, and the message as the broker gave it back."""
    from app.ledger.letters import incident, letters

    with transaction() as tx:
        facts = incident(tx, incident_id)
        found = letters(tx, incident_id, limit=limit)
    if as_json:
        everything = {**asdict(facts), "letters": [asdict(letter) for letter in found]}
        typer.echo(json.dumps(everything, default=str))
        return
    _print_incident(facts)
    for letter in found:
        _print_letter(letter)


@app.command()
def replay(
    job: Jobs = None,
    incident: Incident = None,
    kind: Kind = None,
    queue: OfQueue = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    tenant: OfTenant = None,
    everything: Everything = False,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Jobs a second at most.")] = None,
    reason: Annotated[str, typer.Option(help="Kept in each job's history.")] = "Replayed.",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run dead jobs again, each with all its attempts, and send plain tasks again. All that fit every
    option given.
    """
    chosen = _chosen(job, incident, kind, queue, code, since, until, tenant, everything=everything)
    done = _replay(chosen, reason=reason, rate=rate, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(done, default=str))
        return
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(done["by_kind"].items()))
    typer.echo(
        f"{'would replay' if dry_run else 'replayed'} {counted(done['replayed'], 'job')}"
        + (f" ({kinds})" if kinds else "")
        + (f", {done['upcast']} of them upcast" if done["upcast"] else "")
        + (f", over {done['seconds']:.0f} s" if rate else "")
    )
    if done["tasks"] or done["tasks_left"]:
        verb = "would send" if dry_run else "sent"
        typer.echo(
            f"{verb} {counted(done['tasks'], 'task')} again, left {counted(done['tasks_left'], 'other message')}"
        )
    for skipped in done["skipped"]:
        typer.echo(f"skipped {skipped['job_id']}: {plain(skipped['reason'])}")


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Kept in each job's history, for its tenant too.")],
    job: Jobs = None,
    incident: Incident = None,
    kind: Kind = None,
    queue: OfQueue = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    tenant: OfTenant = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give dead jobs up, and messages that belong to none. All that fit every option given."""
    from app.operations.actor import Actor
    from app.operations.incidents import discard as close

    _check_said(reason, "--reason")
    chosen = _chosen(job, incident, kind, queue, code, since, until, tenant, everything=everything)
    number, more = 0, True
    while more:
        with transaction() as tx:
            actor = Actor.at_the_command_line()
            done, _ = close(tx, actor, chosen, reason=reason, dry_run=dry_run)
        number += done.number
        more = done.more and not dry_run
    facts = {"dry_run": dry_run, "discarded": number, "more": done.more}
    line = f"{'would discard' if dry_run else 'discarded'} {counted(number, 'dead letter')}"
    answer(facts, line + (" or more" if done.more else ""), as_json=as_json)


@app.command()
def resolve(
    incident_id: Annotated[UUID, typer.Argument(metavar="INCIDENT")],
    note: Note,
    as_json: AsJson = False,
) -> None:
    """Say that the cause is mended. The next death of this cause opens the incident again."""
    from app.operations.actor import Actor
    from app.operations.incidents import resolve as close

    _check_said(note, "--note")
    with transaction() as tx:
        close(tx, Actor.at_the_command_line(), incident_id, note=note)
    facts = {"id": incident_id, "state": "resolved"}
    answer(facts, f"{incident_id} is resolved", as_json=as_json)


@app.command()
def ignore(
    incident_id: Annotated[UUID, typer.Argument(metavar="INCIDENT")],
    note: Note,
    days: Annotated[int, typer.Option(min=1, max=3650)] = 7,
    as_json: AsJson = False,
) -> None:
    """Hear no more of a cause for a while. The first death after that opens the incident again."""
    from app.operations.actor import Actor
    from app.operations.incidents import ignore as close

    _check_said(note, "--note")
    with transaction() as tx:
        close(tx, Actor.at_the_command_line(), incident_id, note=note, days=days)
    facts = {"id": incident_id, "state": "ignored", "days": days}
    answer(facts, f"{incident_id} is ignored for {counted(days, 'day')}", as_json=as_json)


def _replay(
    chosen: "DeadFilter", *, reason: str, rate: float | None, dry_run: bool
) -> dict[str, Any]:
    """Batch by batch, each in a transaction of its own, until nothing is left that fits."""
    from app.aftermath import AFTERMATHS
    from app.jobs import CATALOG
    from app.ledger.replay import Replayed
    from app.operations.actor import Actor
    from app.operations.incidents import replay as run_again

    total = Replayed(more=True)
    by_kind: Counter[str] = Counter()
    while total.more:
        with transaction() as tx:
            answer, _ = run_again(
                tx,
                Actor.at_the_command_line(),
                CATALOG,
                AFTERMATHS,
                chosen,
                reason=reason,
                rate=rate,
                dry_run=dry_run,
                after=total.last,
                delay=len(total.job_ids) / rate if rate else 0.0,
            )
        total.job_ids += answer.job_ids
        total.skipped += answer.skipped
        total.upcast += answer.upcast
        by_kind += answer.by_kind
        total.seconds = max(total.seconds, answer.seconds)
        total.more, total.last = answer.more, answer.last
    sent, left = _send_again(chosen, reason=reason, rate=rate, dry_run=dry_run)
    return {
        "tasks": sent,
        "tasks_left": left,
        "dry_run": dry_run,
        "replayed": len(total.job_ids),
        "by_kind": by_kind,
        "upcast": total.upcast,
        "skipped": [asdict(each) for each in total.skipped],
        "seconds": total.seconds,
    }


def _send_again(
    chosen: "DeadFilter", *, reason: str, rate: float | None, dry_run: bool
) -> tuple[int, int]:
    """The plain tasks that fit: how many were sent, and how many messages are none that can be."""
    import time

    from app.broker.tasks import TaskSender
    from app.housekeeping.strays import BATCH, replay_strays
    from app.settings import get_settings

    if not chosen.reaches_strays:
        return 0, 0
    sender = TaskSender(get_settings())
    batch = BATCH if rate is None else max(1, min(BATCH, int(rate)))
    sent, left, after, more = 0, 0, None, True
    try:
        while more:
            with transaction() as tx:
                answer = replay_strays(
                    tx, sender, chosen, reason=reason, dry_run=dry_run, after=after, limit=batch
                )
            sent, left, after, more = (
                sent + answer.sent,
                left + answer.left,
                answer.last,
                answer.more,
            )
            if rate is not None and more and not dry_run:
                time.sleep(answer.sent / rate)
    finally:
        sender.close()
    return sent, left


def _chosen(
    job: list[UUID] | None,
    incident: UUID | None,
    kind: str | None,
    queue: str | None,
    code: str | None,
    since: str | None,
    until: str | None,
    tenant: str | None,
    *,
    everything: bool,
) -> "DeadFilter":
    """Raises Unprocessable when nothing was chosen: no option must not mean everything."""
    from app.keys import find_tenant
    from app.ledger.replay import DeadFilter

    given = any((job, incident, kind, queue, code, since, until, tenant))
    if given == everything:
        raise Unprocessable(
            "Say which: --job, --incident, --kind, --queue, --code, --since, --until or --tenant; "
            "or --all and none of these."
        )
    tenant_id = None
    if tenant:
        with transaction() as tx:
            tenant_id = find_tenant(tx, tenant)
    return DeadFilter(
        tenant_id=tenant_id,
        job_ids=job or None,
        incident_id=incident,
        kind=kind,
        queue=queue,
        code=code,
        died_after=_time(since),
        died_before=_time(until),
    )


def _time(words: str | None) -> datetime | None:
    if words is None:
        return None
    try:
        time = datetime.fromisoformat(words)
    except ValueError:
        raise Unprocessable(f"{words!r} is no time. Use one like 2026-05-01T08:00.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _check_said(words: str, option: str) -> None:
    if len(words.strip()) < MIN_REASON_CHARS:
        raise Unprocessable(f"Say in {option} why, for whoever looks at it later.")


def _columns(each: "IncidentFacts") -> tuple[str, ...]:
    return (
        str(each.id),
        each.state,
        str(each.count),
        str(each.open),
        str(each.tenants),
        when(each.first_seen),
        when(each.last_seen),
        each.kind or "-",
        each.code,
        each.message[:MESSAGE_CHARS],
    )


def _print_incident(facts: "IncidentFacts") -> None:
    lines = {
        "incident": f"{facts.id}, {facts.state}" + (f": {facts.note}" if facts.note else ""),
        "kind": facts.kind or "(none)",
        "error": f"{facts.code}: {facts.message}",
        "raised": f"{facts.error_type} in {facts.frame}" if facts.frame else "",
        "seen": f"{counted(facts.count, 'time')}, {when(facts.first_seen)} to {when(facts.last_seen)}",
        "open": f"{counted(facts.open, 'letter')}; {counted(facts.tenants, 'tenant')} touched; "
        f"reopened {counted(facts.reopened, 'time')}",
        "ignored": f"until {when(facts.ignored_until)}" if facts.ignored_until else "",
    }
    for name, line in lines.items():
        if line:
            typer.echo(f"{name:<9} {plain(line)}")


def _print_letter(letter: "Letter") -> None:
    owner = f"job {letter.job_id} of tenant {letter.tenant_id}" if letter.job_id else "no job's"
    typer.echo(f"\nletter    {letter.id}, {letter.state}")
    typer.echo(f"from      {owner}, queue {plain(letter.queue or '-')}, attempt {letter.attempt}")
    typer.echo(f"failed    {when(letter.first_failed_at)} to {when(letter.last_failed_at)}")
    if letter.closed_reason:
        typer.echo(f"closed    {when(letter.closed_at)}: {plain(letter.closed_reason)}")
    typer.echo(f"error     {plain(letter.error['message'])}")
    if "traceback" in letter.error:
        typer.echo(safe(letter.error["traceback"]).rstrip())
    for name, value in (("x-death", letter.x_death), ("headers", letter.headers)):
        if value:
            typer.echo(f"{name:<9} {json.dumps(value)}")
    if letter.body is not None:
        typer.echo(f"body      {safe(letter.body)}")
