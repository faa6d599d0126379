"""What the campaign came to, as JSON and as the table of docs/incidents.md."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.incidents.campaign import Record
from tests.incidents.scaled import FACTOR


def write(
    records: Sequence[Record], folder: Path, *, queries: dict[str, Any], books: dict[str, int]
) -> None:
    """result.json and table.md in `folder`."""
    facts = {
        "factor": FACTOR,
        "incidents": [record.as_facts() for record in records],
        "queries": queries,
        "jobs": books,
    }
    (folder / "result.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / "table.md").write_text(table(records))


def table(records: Sequence[Record]) -> str:
    """Markdown: a line for each alert of each incident, and its commands below."""
    lines = [
        "| incident | alert | fired after | commands took | over after |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        for number, seen in enumerate(record.alerts):
            name = record.name if number == 0 else ""
            labels = ", ".join(seen.labels.values())
            alert = f"[{seen.alert}](runbooks/{record.page}.md)" if number == 0 else seen.alert
            took = f"{record.commands_seconds:.0f} s" if number == 0 else ""
            words = (
                name,
                f"{alert} {labels}".strip(),
                _s(seen.fired_after),
                took,
                _s(seen.cleared_after),
            )
            lines.append("| " + " | ".join(words) + " |")
    for record in records:
        lines += ["", f"**{record.name[0].upper()}{record.name[1:]}.** {record.fault}"]
        if record.others:
            lines[-1] += f" Beside it fired: {', '.join(record.others)}."
        for what, seconds in record.notes.items():
            lines[-1] += f" Meanwhile {what} {seconds:.1f} s."
        if record.screenshot:
            lines += ["", f"![The alert of {record.name}]({record.screenshot})"]
        lines += ["", *(f"    {command}" for command in record.commands)]
    return "\n".join(lines) + "\n"


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"
