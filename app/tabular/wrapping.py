"""Rows that a program has wrapped: all of a row in one pair of quotes, or delimiters of another kind behind it.

Spreadsheets do that to a file that they took for one with another delimiter, and saved again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_DELIMITERS = (",", ";", "\t", "|")
_NEARLY = 0.95
_MOSTLY = 0.6
_ENOUGH = 3
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_WHOLE = re.compile(r'"((?:[^"]|"")*)"')
_WRAPPED = re.compile(r'^"((?:[^"]|"")*)"(?=[\r\n]|\Z)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wrapping:
    """`tail` is what stands behind every row; `quoted`: rows may be one quoted cell, which holds the true ones."""

    tail: str = ""
    quoted: bool = False

    def __bool__(self) -> bool:
        return bool(self.tail or self.quoted)

    def removed(self, text: str) -> str:
        """The rows by themselves, in as many lines."""
        if self.tail:
            text = re.sub(rf"{re.escape(self.tail)}(?=[\r\n]|\Z)", "", text)
        return (
            _WRAPPED.sub(lambda found: found[1].replace('""', '"'), text) if self.quoted else text
        )


NONE = Wrapping()


def find_wrapping(lines: Sequence[str]) -> Wrapping:
    """What the rows are wrapped in; `lines` are the first of the text."""
    rows = [row for line in lines if (row := line.rstrip("\r\n")).strip()]
    if len(rows) < _ENOUGH:
        return NONE
    tail = _tail(rows)
    rows = [row.removesuffix(tail) for row in rows]
    quoted = _is_quoted(rows)
    first = rows[0].strip('"') if quoted else rows[0]
    return Wrapping(tail, quoted) if _delimiters(first) else NONE


def _tail(rows: Sequence[str]) -> str:
    """What nearly all rows end with, the first among them, and have nowhere else."""
    mark = rows[0][-1]
    if mark not in _DELIMITERS:
        return ""
    tail = rows[0][len(rows[0].rstrip(mark)) :]
    bare = [_QUOTED.sub("", row) for row in rows]
    alike = sum(row.endswith(tail) and mark not in row[: -len(tail)] for row in bare)
    return tail if alike >= _NEARLY * len(rows) and mark not in bare[0][: -len(tail)] else ""


def _is_quoted(rows: Sequence[str]) -> bool:
    """Whether most rows are one quoted cell with cells in it."""
    cells = [found[1] for row in rows if (found := _WHOLE.fullmatch(row))]
    first = _WHOLE.fullmatch(rows[0])
    if len(cells) < _MOSTLY * len(rows):
        return False
    return _delimiters(first[1] if first else rows[0]) > 1 or any('""' in cell for cell in cells)


def _delimiters(row: str) -> int:
    return max(map(row.count, _DELIMITERS))
