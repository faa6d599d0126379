"""CSV that a spreadsheet may open: no cell of it is taken for a formula.

A cell that begins with = + - or @, also behind spaces and in their full-width forms, or with a tab or a
carriage return, gets a ' in front. Plain numbers and phone numbers stay as they are. What was guarded is
given back by `unguarded`, exactly.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

_STARTS = re.compile(
    "'*(?:[\\t\\r\\n]|[\\s\u200b-\u200f\u2060\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20\u2212])"
)
"""The quotes in front are those of a cell that looks as if it were guarded: it is guarded once more."""
_PLAIN = re.compile(r"[+-]?[0-9 .,()-]*[0-9][0-9 .,()-]*")
MAYBE = frozenset(
    "=+-@'\t\r\n\uff1d\uff0b\uff0d\uff20\u2212\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
) | frozenset(chr(code) for code in range(0x3001) if chr(code).isspace())
"""What a cell begins with that has to be looked at; most don't."""


def guarded(cell: str) -> str:
    """The cell as a spreadsheet may see it."""
    if cell[:1] not in MAYBE:
        return cell
    return f"'{cell}" if _STARTS.match(cell) and not _PLAIN.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """The opposite: `unguarded(guarded(cell)) == cell`."""
    if cell[:1] != "'":
        return cell
    rest = cell[1:]
    return rest if guarded(rest) == cell else cell


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """RFC 4180 lines, every cell guarded."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([[guarded(cell) for cell in line] for line in lines])
    return out.getvalue()
