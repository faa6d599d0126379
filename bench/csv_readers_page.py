"""The tables of docs/csv-readers.md, between its markers."""

import re
from collections.abc import Mapping
from pathlib import Path

from bench.csv_readers_peers import READERS
from bench.csv_readers_scores import Score, total
from bench.csv_readers_speed import READERS as TIMED
from bench.csv_readers_speed import Cost
from infra.local.layout import ROOT

PAGE = ROOT / "docs" / "csv-readers.md"
Found = Mapping[str, Mapping[str, Score]]


def write_page(found: Found, costs: Mapping[str, Cost], page: Path = PAGE) -> None:
    """Put the new figures into the page; the prose around them stays."""
    text = page.read_text()
    text = _between(text, "files", _right(found))
    text = _between(text, "cells", _cells(found))
    text = _between(text, "costs", _costs(costs))
    page.write_text(text)


def _between(text: str, marker: str, table: str) -> str:
    pattern = rf"(<!-- {marker}: begin -->\n).*?(<!-- {marker}: end -->)"
    return re.sub(pattern, lambda found: found[1] + table + found[2], text, flags=re.DOTALL)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _right(found: Found) -> str:
    """Files right in per cent, a line for each kind."""
    names = list(found)
    kinds = found[names[0]]
    lines = _row("kind", "files", *(READERS[name][0] for name in names))
    lines += _row("---", *("---:" for _ in range(len(names) + 1)))
    for kind, score in kinds.items():
        shares = [found[name][kind] for name in names]
        best = max(one.right for one in shares)
        lines += _row(kind, str(score.files), *(_share(one, best) for one in shares))
    totals = [total(found[name]) for name in names]
    best = max(one.right for one in totals)
    files = str(total(kinds).files)
    return lines + _row("**all**", files, *(_share(one, best) for one in totals))


def _share(score: Score, best: int) -> str:
    text = f"{score.right / score.files:.0%}"
    return f"**{text}**" if score.right == best and best else text


def _cells(found: Found) -> str:
    """What came out, over all files that hold a table."""
    lines = _row(
        *("reader", "files right", "header right", "records: precision", "recall"),
        *("cells: precision", "recall", "neighbours intact", "refused wrongly", "hung or crashed"),
    )
    lines += _row("---", *("---:" for _ in range(9)))
    for name, kinds in found.items():
        lines += _row(READERS[name][0], *total(kinds).as_row()[1:])
    return lines


def _costs(costs: Mapping[str, Cost]) -> str:
    lines = _row("reader", "gives", "time, csv = 1", "memory grown by")
    lines += _row("---", "---", "---:", "---:")
    unit = costs["csv"].seconds
    for name, cost in costs.items():
        ratio = f"{cost.seconds / unit:.2f}"
        lines += _row(TIMED[name][0], cost.says, ratio, f"{cost.grown / 2**20:,.0f} MiB")
    return lines
