"""`millrace contracts`: what versions of payloads there are, and what was recorded of them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.terminal import AsJson, answer, table, transaction

app = typer.Typer(no_args_is_help=True, help="The payloads of jobs, version by version.")

Folder = Annotated[Path, typer.Option(help="Where the golden records are.")]


@app.command("list")
def list_versions(as_json: AsJson = False) -> None:
    """Show which versions waiting jobs, dead jobs and schedules hold, and whether this release reads them.

    A version that is at zero in every database needs its upcast no more. Exit status 1 when something is
    there that this release can't read.
    """
    from dataclasses import asdict

    from app.contracts.usage import usage
    from app.jobs import CATALOG

    with transaction() as tx:
        found = usage(tx, CATALOG)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
    else:
        rows = [
            (
                *(each.kind, str(each.version), str(each.waiting), str(each.dead)),
                *(str(each.schedules), "yes" if each.readable else "NO"),
            )
            for each in found
        ]
        table(("KIND", "VERSION", "WAITING", "DEAD", "SCHEDULES", "READABLE"), rows)
    if not all(each.readable for each in found):
        raise typer.Exit(1)


@app.command()
def record(
    kinds: Annotated[list[str] | None, typer.Argument(metavar="[KIND]...")] = None,
    folder: Folder = Path("tests/golden"),
    as_json: AsJson = False,
) -> None:
    """Record the shape and a golden message of contracts whose version is new: of KINDs, or of all.

    A version that is recorded stays as it is; a contract that differs from its own is an error.
    """
    from app.contracts.golden import record as keep
    from app.errors import NotFound
    from app.jobs import CATALOG

    unknown = [kind for kind in kinds or () if kind not in CATALOG]
    if unknown:
        raise NotFound(f"There is no contract {unknown[0]!r} in app/jobs/__init__.py.")
    paths = [keep(folder, CATALOG[kind]) for kind in kinds or sorted(CATALOG)]
    written = [path for path in paths if path is not None]
    line = "\n".join(f"wrote {path}" for path in written) or "all versions are recorded already"
    answer({"written": list(map(str, written))}, line, as_json=as_json)
