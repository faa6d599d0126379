"""`millrace csv`: what the importer makes of a file, for anyone to look at."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.plurals import counted
from app.terminal import AsJson, plain

app = typer.Typer(no_args_is_help=True, help="Tables in files, as the importer reads them.")

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False)]
Out = Annotated[Path, typer.Option(help="The folder to write to; made if it isn't there.")]


@app.callback()
def group() -> None:
    """Keeps `normalize` a command of its own, though it is the only one."""


@app.command()
def normalize(
    files: Files,
    out: Out,
    as_json: AsJson = False,
    encoding: Annotated[str | None, typer.Option(help="Instead of finding it out.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    header_row: Annotated[
        int | None, typer.Option(min=0, help="Likewise; 0: there is none.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Of a workbook; else the first with data.")
    ] = None,
    member: Annotated[str | None, typer.Option(help="Of a zip archive with several files.")] = None,
) -> None:
    """Write each FILE as plain CSV: UTF-8, commas, quotes as in RFC 4180, header first, LF.

    A file that can't be read doesn't stop the others; the exit status is 1 then.
    """
    from app.tabular.layout import Hints

    hints = Hints(
        encoding=encoding, delimiter=delimiter, header_row=header_row, sheet=sheet, member=member
    )
    out.mkdir(parents=True, exist_ok=True)
    names = _names(files)
    reports = [_one(file, out / names[file], hints) for file in files]
    if as_json:
        typer.echo(json.dumps(reports))
    else:
        for report in reports:
            _show(report)
    if any(report["error"] for report in reports):
        raise typer.Exit(1)


def _names(files: list[Path]) -> dict[Path, str]:
    """A name of its own for each file's output."""
    names: dict[Path, str] = {}
    for file in files:
        wanted = file.name if file.suffix.lower() == ".csv" else f"{file.name}.csv"
        if file.suffix.lower() != ".csv" and f"{file.stem}.csv" not in names.values():
            wanted = f"{file.stem}.csv"
        number = 2
        while wanted in names.values():
            wanted = f"{file.stem}-{number}.csv"
            number += 1
        names[file] = wanted
    return names


def _one(file: Path, target: Path, hints: Any) -> dict[str, Any]:
    """Writes beside the target and renames at the end: half a table never stands there."""
    from app.errors import MillraceError
    from app.tabular.detect import open_table
    from app.tabular.normalize import normalize as write

    report: dict[str, Any] = {"file": str(file), "output": None, "error": None}
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with file.open("rb") as source, unfinished.open("wb") as written:
            table = open_table(source, filename=file.name, hints=hints)
            report["layout"] = table.layout.model_dump(mode="json")
            summary = write(table, written)
        unfinished.replace(target)
    except (MillraceError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        code = error.code if isinstance(error, MillraceError) else "unreadable"
        report["error"] = {"code": code, "message": str(error)}
        return report
    report["output"] = str(target)
    report["rows"] = {
        name: getattr(summary, name)
        for name in ("rows", "blank", "short", "long", "repaired", "footer_rows")
    } | {"problems": dict(summary.problems)}
    return report


def _show(report: dict[str, Any]) -> None:
    """A file in a few lines, on standard error."""
    if report["error"]:
        typer.echo(
            f"{report['file']}: {report['error']['code']}: {report['error']['message']}", err=True
        )
        return
    layout, rows = report["layout"], report["rows"]
    form = layout["encoding"] if layout["kind"] == "csv" else f"sheet {layout['sheet']!r}"
    parts = [form, f"delimiter {layout['delimiter']!r}"] if layout["kind"] == "csv" else [form]
    parts.append(counted(len(layout["columns"]), "column"))
    parts += [
        f"{count} {name.replace('_', ' ')}"
        for name, count in rows.items()
        if name == "rows" or (isinstance(count, int) and count)
    ]
    parts += [f"{count} {code}" for code, count in rows["problems"].items()]
    typer.echo(f"{report['file']} -> {report['output']}: {plain(', '.join(parts))}", err=True)
    for doubt in layout["doubts"]:
        typer.echo(f"  {plain(doubt['message'])}", err=True)
