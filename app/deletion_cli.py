"""`millrace tenants delete`: a tenant and all that is known of it, for good."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.plurals import counted
from app.terminal import BY_COMMAND, AsJson, Why, answer, plain

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.erasing import Erased
    from app.operations.actor import Actor
    from app.operations.deletion import Doomed

TOLD_SECONDS = 2.0
"""Between two lines about how far it is."""


def delete(
    tenant: Annotated[str, typer.Argument(help="Name or id.")],
    yes: Annotated[str | None, typer.Option(metavar="NAME", help="Its name, once more.")] = None,
    cancel: Annotated[bool, typer.Option(help="Give up what is being done.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Delete a tenant for good: its rows in every table, its objects, its keys. Safe to stop and to repeat.

    What operators did stays in the audit log, by the tenant's id: write no names into the reason.
    """
    from app.db import make_engine, transaction
    from app.erasing import OBJECTS, count_all
    from app.operations import deletion
    from app.operations.actor import Actor
    from app.settings import get_settings
    from app.storage import make_storage

    engine = make_engine(get_settings(), pool_size=1, application_name="millrace-cli")
    try:
        with transaction(engine) as tx:
            doomed, actor = deletion.find(tx, tenant), Actor.at_the_command_line()
            if not dry_run:
                deletion.check_meant(doomed, yes)
                deletion.begin(tx, actor, doomed, cancel=cancel, reason=reason)
        if dry_run:
            with transaction(engine) as tx:
                rows = count_all(tx, make_storage(get_settings()), doomed.id)
        else:
            rows = _carry_out(engine, actor, doomed, cancel=cancel, reason=reason)
    finally:
        engine.dispose()
    objects = rows.pop(OBJECTS, 0)
    facts = {"id": doomed.id, "dry_run": dry_run, "rows": rows, "objects": objects}
    answer(facts, _line(doomed, rows, objects, dry_run=dry_run), as_json=as_json)


def _carry_out(
    engine: "Engine", actor: "Actor", doomed: "Doomed", *, cancel: bool, reason: str
) -> dict[str, int]:
    """How many rows of each table, and how many objects."""
    from app.aftermath import AFTERMATHS
    from app.db import transaction
    from app.erasing import OBJECTS, erase_all
    from app.operations import deletion
    from app.settings import get_settings
    from app.storage import make_storage

    settings = get_settings()
    storage, seconds = make_storage(settings), settings.lease_seconds
    last = None
    out = deletion.let_go(engine, AFTERMATHS, doomed, cancel=cancel, lease_seconds=seconds)
    for number in out:
        if number != last:
            typer.echo(
                f"{counted(number, 'job is', 'jobs are')} still with the broker or a worker",
                err=True,
            )
        last = number
    rows = _told(erase_all(engine, storage, doomed.id))
    objects = rows[OBJECTS]
    facts: dict[str, Any] = {"rows": rows.total() - objects, "objects": objects}
    with transaction(engine) as tx:
        deletion.end(tx, actor, doomed, reason=reason, facts=facts)
    rows += _told(erase_all(engine, storage, doomed.id))  # of who was in the middle of it
    return dict(+rows)


def _told(steps: "Iterable[Erased]") -> Counter[str]:
    rows: Counter[str] = Counter()
    last = time.monotonic()
    for step in steps:
        rows[step.what] += step.number
        if time.monotonic() - last >= TOLD_SECONDS:
            typer.echo(f"{step.what}: {rows[step.what]:,} deleted", err=True)
            last = time.monotonic()
    return rows


def _line(doomed: "Doomed", rows: dict[str, int], objects: int, *, dry_run: bool) -> str:
    number = sum(rows.values())
    verb = "would be deleted" if dry_run else "is deleted"
    what = f"{counted(number, 'row')} of {counted(len(rows), 'table')}, and {counted(objects, 'object')}"
    lines = [f"{plain(doomed.name)} ({doomed.id}) {verb}: {what}"]
    return "\n".join(lines + [f"  {name:<20} {count:>12,}" for name, count in sorted(rows.items())])
