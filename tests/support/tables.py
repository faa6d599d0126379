"""Tables written in every manner, and read back."""

import csv
import io
from dataclasses import dataclass
from typing import Any

from app.tabular.batch import Problem
from app.tabular.detect import open_table
from app.tabular.layout import Hints, Layout

Rows = list[list[str]]

HEADER = ["Day", "Clock", "Qty", "Ref", "Price", "Kind", "Text", "Link", "Memo"]
ROWS: Rows = [
    ["10/12/2018", "05:00", "2", "EB-2041", "99.99", "C", 'Gloves, 5" cuff', "https://x.example/1", ""],
    ["10/13/2018", "06:00", "1", "EB-2042", "1,299.00", "D", 'Boots "Alp"', "https://x.example/2", "late; call"],
    ["10/14/2018", "07:30", "12", "AB-17", "15.5", "C", "Hat", "https://x.example/3", 'said "no", then'],
    ["10/15/2018", "08:15", "3", "AB-18", "7", "E", "Scarf", "https://x.example/4", "two\nlines"],
    *(
        [f"11/{day:02d}/2018", f"{day:02d}:15", str(day), f"ZX-{day + 100}", f"{day * 3.5:.2f}",
         "CDE"[day % 3], f"Thing {day}" + ", spare" * (day % 4 == 0), f"https://x.example/q/{day}",
         f"note {day}" * (day % 3 == 0)]
        for day in range(1, 20)
    ),
]  # fmt: skip


@dataclass
class Read:
    """What came out of a file."""

    columns: list[str]
    rows: Rows
    layout: Layout
    repaired: int
    problems: dict[int, Problem]

    @property
    def doubts(self) -> set[str]:
        return {doubt.code for doubt in self.layout.doubts}


def read(data: bytes | str, **hints: Any) -> Read:
    """All rows that aren't blank, filled up to the width; problems by row number."""
    raw = data if isinstance(data, bytes) else data.encode()
    table = open_table(io.BytesIO(raw), hints=Hints(**hints))
    width = len(table.layout.columns)
    rows: Rows = []
    problems: dict[int, Problem] = {}
    repaired = 0
    expected = table.layout.first_row
    for batch in table.batches():
        assert batch.first_row == expected
        expected += len(batch.records)
        repaired += batch.repaired
        problems |= {batch.first_row + at: each for at, each in batch.problems.items()}
        rows += [row + [""] * (width - len(row)) for row in batch.records if row]
    return Read(list(table.layout.columns), rows, table.layout, repaired, problems)


def written(
    rows: Rows, header: list[str] | None = HEADER, end: str = "\r\n", **dialect: Any
) -> str:
    """By Python's csv.writer."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, **dialect)
    writer.writerows([header, *rows] if header else rows)
    return out.getvalue()


def joined(delimiter: str, rows: Rows, *, quoted: bool = False) -> str:
    """With a delimiter of several characters, which csv.writer doesn't know."""

    def cell(text: str) -> str:
        special = quoted or any(mark in text for mark in (delimiter, delimiter[0], '"', "\n"))
        return '"' + text.replace('"', '""') + '"' if special else text

    return "".join(delimiter.join(map(cell, row)) + "\r\n" for row in rows)
