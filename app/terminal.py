"""What operators' commands share: a transaction, a table, and text that is safe to print."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from app.settings import Settings

Why = Annotated[str, typer.Option("--reason", help="Kept in the audit log.")]
BY_COMMAND = "At the command line."
"""The reason in the audit log where none is given."""
BY_OPERATOR = "Paused by an operator."
"""The same where a tenant reads it."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def transaction(settings: "Settings | None" = None) -> "Iterator[Connection]":
    """One transaction on a connection of its own, committed at the end."""
    from app.db import make_engine
    from app.db import transaction as on
    from app.settings import get_settings

    engine = make_engine(settings or get_settings(), pool_size=1, application_name="millrace-cli")
    try:
        with on(engine) as tx:
            yield tx
    finally:
        engine.dispose()


def answer(facts: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    """What was done: the facts as JSON, or the line that says it."""
    typer.echo(json.dumps(facts, default=str) if as_json else line)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as they must be; the last one as it comes."""
    cells = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def plain(text: str) -> str:
    """On one line, and without what a terminal would obey: customers' data is in there."""
    return " ".join(safe(text).split())


def safe(text: str) -> str:
    """The same over several lines."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)


def when(time: datetime | None) -> str:
    """To the second, in UTC."""
    return "-" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
