"""The tables of docs/csv-readers.md, between its markers."""

from collections.abc import Mapping
from pathlib import Path

from bench.csv_readers_peers import READERS
from bench.csv_readers_scores import Score, total
from bench.csv_readers_speed import READERS as TIMED
from bench.csv_readers_speed import Cost
from bench.page import put_between, row
from infra.local.layout import ROOT

PAGE = ROOT / "docs" / "csv-readers.md"
Found = Mapping[str, Mapping[str, Score]]


def write_page(found: Found, costs: Mapping[str, Cost], page: Path = PAGE) -> None:
    """Put the new figures into the page; the prose around them stays."""
    put_between(page, "files", _right(found))
    put_between(page, "cells", _cells(found))
    put_between(page, "costs", _costs(costs))


def _right(found: Found) -> str:
    """Files right in per cent, a line for each kind."""
    names = list(found)
    kinds = found[names[0]]
    lines = row("kind", "files", *(READERS[name][0] for name in names))
    lines += row("---", *("---:" for _ in range(len(names) + 1)))
    for kind, score in kinds.items():
        shares = [found[name][kind] for name in names]
        best = max(one.right for one in shares)
        lines += row(kind, str(score.files), *(_share(one, best) for one in shares))
    totals = [total(found[name]) for name in names]
    best = max(one.right for one in totals)
    files = str(total(kinds).files)
    return lines + row("**all**", files, *(_share(one, best) for one in totals))


def _share(score: Score, best: int) -> str:
    text = f"{score.right / score.files:.0%}"
    if text == "100%" and score.right < score.files:
        text = f"{score.right / score.files:.1%}"
    return f"**{text}**" if score.right == best and best else text


def _cells(found: Found) -> str:
    """What came out, over all files that hold a table."""
    lines = row(
        *("reader", "files right", "header right", "records: precision", "recall"),
        *("cells: precision", "recall", "neighbours intact", "refused wrongly", "hung or crashed"),
    )
    lines += row("---", *("---:" for _ in range(9)))
    for name, kinds in found.items():
        lines += row(READERS[name][0], *total(kinds).as_row()[1:])
    return lines


def _costs(costs: Mapping[str, Cost]) -> str:
    lines = row("reader", "gives", "time, csv = 1", "memory grown by")
    lines += row("---", "---", "---:", "---:")
    unit = costs["csv"].seconds
    for name, cost in costs.items():
        ratio = f"{cost.seconds / unit:.2f}"
        lines += row(TIMED[name][0], cost.says, ratio, f"{cost.grown / 2**20:,.0f} MiB")
    return lines
