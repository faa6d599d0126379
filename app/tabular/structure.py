"""How many columns the main table of a file has."""

import re
from collections import Counter
from collections.abc import Sequence

from app.tabular.kinds import TYPED, kind

_ENOUGH_ROWS = 3
_DOMINANT = 3
_KEY_VALUE = 2
_YEAR = re.compile(r"(?:19|20|21)\d\d")

Records = Sequence[Sequence[str]]


def table_width(records: Records) -> int:
    """The width of the first real table; 1 where there are only single values."""
    rows = [_trimmed(record) for record in records if any(map(str.strip, record))]
    if not rows:
        return 1
    counts = Counter(map(len, rows))
    full = Counter(len(record) for record in records if any(map(str.strip, record)))
    width = _first_table(records, full)
    if width == 1:
        return 1
    return _corrected(records, rows, counts, width)


def _first_table(records: Records, counts: Counter[int]) -> int:
    """The first width that enough rows have, unless a much larger and wider table follows."""
    most = max(counts.values())
    wide = [width for width in counts if width > 1]
    if not wide:
        return 1
    biggest = max(wide, key=lambda width: (counts[width], width))
    if counts[1] > _DOMINANT * counts[biggest] and _scattered(records, biggest):
        return 1
    for record in records:
        width = len(record)
        if width < 2 or not any(map(str.strip, record)):  # noqa: PLR2004
            continue
        small = counts[width] < _ENOUGH_ROWS and most >= _ENOUGH_ROWS
        if width == biggest or (
            not small
            and counts[width] * _DOMINANT > counts[biggest]
            and not _is_key_values(records, width)
            and _together(records, width)
        ):
            return width
    return biggest


def _scattered(records: Records, width: int) -> bool:
    places = [index for index, record in enumerate(records) if len(record) == width]
    return places[-1] - places[0] + 1 > 2 * len(places)


def _together(records: Records, width: int) -> bool:
    """Whether the rows of this width stand in one piece, as a table's do."""
    places = [index for index, record in enumerate(records) if len(record) == width]
    return places[-1] - places[0] + 1 <= len(places) + _ENOUGH_ROWS


def _is_key_values(records: Records, width: int) -> bool:
    """Whether these are lines such as "Date:,2024" above a table."""
    rows = [record for record in records if len(record) == width]
    values = Counter(kind(record[1]) for record in rows[1:])
    typed = sum(count for each, count in values.items() if each in TYPED)
    colons = sum(record[0].strip().endswith(":") for record in rows)
    uniform = len(values) == 1 and typed > 0
    return width == _KEY_VALUE and (colons * 2 >= len(rows) or not uniform)


def _corrected(records: Records, rows: Records, counts: Counter[int], width: int) -> int:
    """Without columns that are empty and nameless; with those that only the header has."""
    first = next(
        (index for index, record in enumerate(records) if is_several(record)),
        None,
    )
    fitting = [_trimmed(record) for record in records if len(record) == width]
    used = max(map(len, fitting), default=width)
    if first is None:
        return max(used, 1)
    header = len(_trimmed(records[first]))
    if header > width and _has_values(records[first]):  # a line about the file, not its header
        return max(used, 2)
    if header > width and all(len(row) <= header for row in rows[1:]) and _mostly(counts, header):
        return header
    if header < used and len(records[first]) != width:
        filled = sum(1 for row in fitting if len(row) > header)
        return used if filled * 10 > len(fitting) else header
    return max(used, 2) if used > 1 else 1


def _has_values(record: Sequence[str]) -> bool:
    """Whether some cells are numbers, dates and the like, other than years, which may name columns."""
    return any(kind(cell) in TYPED and not _YEAR.fullmatch(cell.strip()) for cell in record)


def _mostly(counts: Counter[int], header: int) -> bool:
    """Whether nearly all rows are at most as wide as the header."""
    return (
        sum(count for width, count in counts.items() if width <= header) * 10 >= 9 * counts.total()
    )


def _trimmed(record: Sequence[str]) -> Sequence[str]:
    end = len(record)
    while end and not record[end - 1].strip():
        end -= 1
    return record[:end]


def is_several(record: Sequence[str]) -> bool:
    """Whether more than one cell of it says something."""
    return sum(1 for cell in record if cell.strip()) >= _KEY_VALUE
