"""What a cell looks like: enough to tell a header from data and one dialect from another."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

NUMBER = "number"
DATE = "date"
TIME = "time"
EMAIL = "email"
URL = "url"
CODE = "code"
TEXT = "text"
EMPTY = ""

TYPED = frozenset({NUMBER, DATE, TIME, EMAIL, URL})
_MOSTLY = 0.75
_LONGEST = 200

_SIGNS = r"[+\-\u2212]?"
_CURRENCY = r"(?:[$€£¥₹₽¢]|US\$|USD|EUR|GBP|CHF|kr\.?|Fr\.?|zł)?"
_DIGITS = r"(?:\d+|\d{1,3}(?:[,.'\u00a0\u202f ]\d{2,3})+)(?:[.,]\d*)?|[.,]\d+"
_MONTH = r"[^\W\d_]{3,9}\.?"
_CLOCK = r"\d{1,2}[:.h]\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?(?: ?[aApP]\.?[mM]\.?)?"
_DAY = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    rf"|\d{{1,2}}[-/. ]{_MONTH}[-/. ,]{{1,2}}\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}}|\d{{4}}[-/]{_MONTH}[-/]\d{{1,2}})"
)
_PATTERNS = (
    (
        NUMBER,
        rf"\(?{_SIGNS}\s?{_CURRENCY}\s?{_SIGNS}(?:{_DIGITS})(?:[eE][+-]?\d+)?\s?{_CURRENCY}\s?%?-?\)?",
    ),
    (DATE, rf"{_DAY}(?:[T ,]{{1,2}}{_CLOCK}(?: ?(?:Z|UTC|GMT|[+-]\d{{2}}:?\d{{2}}))?)?"),
    (TIME, _CLOCK.replace("[:.h]", "[:h]", 1)),
    (EMAIL, r"[^\s@,;|\"'<>]+@[^\s@,;|\"'<>]+\.[^\s@,;|\"'<>.]{2,}"),
    (URL, r"(?:https?://|ftp://|www\.)[^\s\"]+"),
    (CODE, r"(?=[^\s]*\d)[\w#+*/.:-]+"),
)
_KINDS = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
_NOTHING = frozenset(
    {"-", "--", "n/a", "na", "null", "none", "nil", "nan", "#n/a", "..", "?", "\\n", "."}
)


@lru_cache(maxsize=65536)
def kind(cell: str) -> str:
    """The kind of a cell, EMPTY also for what people write for "nothing"."""
    cell = cell.strip()
    if not cell or cell.lower() in _NOTHING:
        return EMPTY
    if len(cell) > _LONGEST:
        return URL if cell.startswith(("http://", "https://")) else TEXT
    for name, pattern in _KINDS:
        if pattern.fullmatch(cell):
            return name
    return TEXT


def column_kinds(records: Sequence[Sequence[str]], width: int) -> tuple[str, ...]:
    """What most of the cells in each column are; TEXT where no kind has most of them."""
    found = []
    for index in range(width):
        counts = Counter(kind(record[index]) for record in records if index < len(record))
        counts.pop(EMPTY, None)
        best, count = counts.most_common(1)[0] if counts else (EMPTY, 0)
        found.append(best if count >= _MOSTLY * counts.total() else TEXT)
    return tuple(found)


def agreement(cells: Iterable[str], kinds: Sequence[str]) -> tuple[int, int]:
    """How many cells of typed columns have the column's kind, and how many are words instead."""
    same = other = 0
    for cell, expected in zip(cells, kinds, strict=False):
        if expected in TYPED and (found := kind(cell)) != EMPTY:
            same += found == expected
            other += found in (TEXT, CODE)
    return same, other
