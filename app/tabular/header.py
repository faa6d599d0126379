"""Where the header is, and what the columns are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.tabular.kinds import CODE, EMPTY, NUMBER, TEXT, TYPED, kind

_MAX_HEADER_ROWS = 5
_SEARCHED = 200
_FULL = 0.6
_KEY_VALUE = 2
_LOOSE_QUOTES = ("'", '"')
_LONG_NAME = 60
_YEAR = re.compile(r"(?:19|20|21)\d\d")
_USUAL_NAMES = """
id name email e-mail mail phone tel date time year month day address street city zip postcode country state
region price amount total quantity qty value type status description title code sku currency stock company
first last surname firstname lastname age sex gender number no nr count department category comment comments
notes note url link datum betrag preis menge strasse straße plz ort land vorname nachname firma telefon nom
prénom prenom ville pays rue prix montant quantité téléphone nombre apellido apellidos ciudad precio correo
teléfono empresa fecha nome cognome città prezzo data naam voornaam achternaam plaats prijs bedrag
"""
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_COUNTER = re.compile(r"#|.*\b(?:id|no|nr|num|number|row|index|pos|line|key)\.?", re.IGNORECASE)
_NAMES = frozenset(_USUAL_NAMES.split())
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)?")

Records = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """Indices of the header's records, and of the first record that may be data."""

    rows: tuple[int, ...]
    data: int
    sure: bool


def find_header(records: Records, width: int, kinds: Sequence[str]) -> Found:
    """The header of a table whose body has this width and these kinds of columns."""
    filled = [
        index for index, record in enumerate(records[:_SEARCHED]) if any(map(str.strip, record))
    ]
    if not filled:
        return Found((), len(records), sure=True)
    if any(each in TYPED for each in kinds):
        found = _by_kinds(records, filled, width, kinds)
        if found is not None:
            return found
    return _by_shape(records, filled, width)


def _by_kinds(
    records: Records, filled: Sequence[int], width: int, kinds: Sequence[str]
) -> Found | None:
    """The header ends above the first record whose values are of the columns' kinds."""
    likely = [index for index in filled if _is_data(records[index], width, kinds)]
    if not likely:
        return None
    data = next((index for index in likely if len(records[index]) == width), likely[0])
    above = [index for index in filled if index < data and _could_head(records[index], width)]
    names = [index for index in above if _contradicts(records[index], kinds)]
    if not names:
        between = [index for index in above if width > 1 and len(records[index]) == width]
        if between and _looks_like_names(records[between[0]]):
            return Found((between[0],), between[0] + 1, sure=False)
        return Found((), data if not between else between[0], sure=True)
    last = _last_header_row(records, names, kinds)
    rows = _with_rows_above(records, filled, last, width)
    return Found(rows, last + 1, sure=True)


def _last_header_row(records: Records, names: Sequence[int], kinds: Sequence[str]) -> int:
    """Of the rows with words where the data has values: the first full one and what belongs to it.

    A further row belongs to the header where no value stands in any of several typed columns; else it
    is data with a word, such as "unknown", in place of a value.
    """
    typed = sum(each in TYPED for each in kinds)
    most = min(max(_count(records[index]) for index in names), len(kinds))
    full = [index for index in names if _count(records[index]) >= _FULL * most]
    first = next((index for index in full if len(records[index]) == len(kinds)), full[0])
    last = first
    for index in names:
        if index <= last or index - first >= _MAX_HEADER_ROWS:
            continue
        complete = _count(records[first]) >= len(kinds)
        words = _words_in_typed(records[index], kinds)
        if index == last + 1 and (
            not complete or (typed > 1 and words == typed and _is_wordy(records[index], len(kinds)))
        ):
            last = index
    return last


def _is_wordy(record: Sequence[str], width: int) -> bool:
    """Of the table's width, without any value, and without quotes that the file doesn't use."""
    wrapped = any(cell[:1] in _LOOSE_QUOTES and cell[:1] == cell[-1:] for cell in record if cell)
    return len(record) == width and not wrapped and not any(kind(cell) in TYPED for cell in record)


def _with_rows_above(
    records: Records, filled: Sequence[int], last: int, width: int
) -> tuple[int, ...]:
    """The header's last row with the rows of group names right above it."""
    rows = [last]
    for index in range(last - 1, -1, -1):
        if index not in filled or len(rows) >= _MAX_HEADER_ROWS:
            break
        record = records[index]
        if len(record) != width:
            break
        if not (_is_group_row(record, width) or _fills_blanks(record, records[rows[0]])):
            break
        rows.insert(0, index)
    return tuple(rows)


def _is_group_row(record: Sequence[str], width: int) -> bool:
    """Names over several columns: not a title in the first cell, and not a key with its value."""
    places = [index for index, cell in enumerate(record) if cell.strip()]
    if width < 3 or not places or places == [0]:  # noqa: PLR2004
        return False
    if places == [0, 1] and width > _KEY_VALUE:
        return False
    if record[places[0]].strip().endswith(":"):
        return False
    return all(
        kind(record[index]) in (TEXT, CODE) or _YEAR.fullmatch(record[index].strip())
        for index in places
    )


def _fills_blanks(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether names stand above columns that the row below leaves without one, as in merged cells."""
    named = [cell for cell in upper if cell.strip()]
    above = [cell.strip() and not under.strip() for cell, under in zip(upper, lower, strict=False)]
    return len(named) >= _KEY_VALUE and any(above) and all(kind(cell) == TEXT for cell in named)


def _by_shape(records: Records, filled: Sequence[int], width: int) -> Found:
    """All columns are words: the first full row is the header, unless it reads like data."""
    fitting = [index for index in filled if len(records[index]) == width]
    if not fitting:
        return Found((filled[0],), filled[0] + 1, sure=False)
    usual = sorted(_count(records[index]) for index in fitting)[len(fitting) // 2]
    need = min(_FULL * width, 0.8 * usual)
    first = next((index for index in fitting if _count(records[index]) >= need), fitting[0])
    if not _looks_like_names(records[first]) or _occurs_below(records, first, width):
        return Found((), first, sure=False)
    rows: tuple[int, ...] = (first,)
    following = first + 1
    if following in fitting and _fills_gaps(records[first], records[following]):
        rows = (first, following)
    names = {word.lower() for cell in records[first] for word in _WORD.findall(cell)}
    return Found(rows, rows[-1] + 1, sure=bool(names & _NAMES))


def _fills_gaps(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether the lower row names every column below an upper one with gaps between its names."""
    gaps = sum(not cell.strip() for cell in upper[1:])
    return gaps * 3 >= len(upper) and all(map(str.strip, lower[1:])) and upper[-1] != lower[-1]


def _is_data(record: Sequence[str], width: int, kinds: Sequence[str]) -> bool:
    same = sum(
        1
        for cell, expected in zip(record, kinds, strict=False)
        if expected in TYPED and kind(cell) == expected
    )
    return (
        same > 0
        and len(record) >= min(width, 2)
        and not _contradicts(record, kinds)
        and not _is_years(record, kinds)
        and not _is_key_value(record, width)
    )


def _contradicts(record: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether it has words in typed columns and not one value of their kind (years name columns)."""
    if _is_years(record, kinds):
        return True
    words = values = 0
    for cell, expected in zip(record, kinds, strict=False):
        if expected in TYPED and (found := kind(cell)) != EMPTY:
            values += found == expected
            words += found != expected
    return words > 0 and values == 0


def _words_in_typed(record: Sequence[str], kinds: Sequence[str]) -> int:
    return sum(
        expected in TYPED and kind(cell) in (TEXT, CODE, EMPTY)
        for cell, expected in zip(record, kinds, strict=False)
    )


def _is_years(record: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether the numbers in a row are years that name columns: 2019, 2020, 2021."""
    cells = [cell.strip() for cell, each in zip(record, kinds, strict=False) if each == NUMBER]
    years = [cell.strip() for cell in record if _YEAR.fullmatch(cell.strip())]
    if len(years) < 2 or any(kind(cell) == NUMBER and cell not in years for cell in cells):  # noqa: PLR2004
        return False
    steps = {int(right) - int(left) for left, right in pairwise(years)}
    return len(steps) == 1 and abs(next(iter(steps))) in (1, 5, 10)


def _is_key_value(record: Sequence[str], width: int) -> bool:
    """A line such as "Date:,2024-01-05,,,," above a table."""
    places = [index for index, cell in enumerate(record) if cell.strip()]
    return width > _KEY_VALUE and places in ([0, 1], [0, 2]) and record[0].strip().endswith(":")


def _could_head(record: Sequence[str], width: int) -> bool:
    if width == 1:
        return len(record) == 1
    if len(record) < _KEY_VALUE or _is_key_value(record, width):
        return False
    return _count(record) >= _KEY_VALUE or width == _KEY_VALUE


def _looks_like_names(record: Sequence[str]) -> bool:
    """Short, different words, none of them a value."""
    cells = [cell.strip() for cell in record if cell.strip()]
    if not cells or len({cell.lower() for cell in cells}) < len(cells):
        return False
    return all(kind(cell) in (TEXT, CODE) and len(cell) <= _LONG_NAME * 4 for cell in cells)


def _occurs_below(records: Records, first: int, width: int) -> bool:
    """Whether the row's own values come again further down, as those of data often do."""
    below = [record for record in records[first + 1 :] if len(record) == width]
    again = sum(
        1
        for index, cell in enumerate(records[first])
        if cell.strip() and any(record[index] == cell for record in below)
    )
    return again > 0 and again * 4 >= _count(records[first])


def _count(record: Sequence[str]) -> int:
    return sum(1 for cell in record if cell.strip())


def has_row_names(records: Records, found: Found, width: int) -> bool:
    """Whether the header leaves out the name of a first column that only counts the rows, as R writes it."""
    if len(found.rows) != 1 or len(records[found.rows[0]]) != width - 1:
        return False
    firsts = [record[0].strip() for record in records[found.data :] if len(record) == width]
    numbers = [int(cell) for cell in firsts if cell.isdecimal()]
    counts = len(numbers) == len(firsts) > 1 and all(b - a == 1 for a, b in pairwise(numbers))
    return counts and not _COUNTER.fullmatch(records[found.rows[0]][0].strip())


def column_names(
    records: Records, rows: Sequence[int], width: int, *, shift: bool = False
) -> tuple[str, ...]:
    """One name a column, "column 1" and so on where there is no header.

    Of several header rows the names are joined by a space; a group's name counts for all its columns.
    With `shift` the names begin above the second column.
    Bytes that could not be decoded become U+FFFD: names are stored and shown.
    """
    if not rows:
        return tuple(f"column {number}" for number in range(1, width + 1))
    missing = [""] * shift
    grid = [[*missing, *records[row], *[""] * width][:width] for row in rows]
    if len(grid) == 1:
        return tuple(map(_storable, grid[0]))
    filled = [_spread(grid, level) for level in range(len(grid))]
    names = []
    for column in range(width):
        parts = [row[column].strip() for row in filled]
        names.append(_storable(" ".join(part for part in parts if part)))
    return tuple(names)


def _storable(name: str) -> str:
    return _NOT_STORABLE.sub("\ufffd", name)


def _spread(grid: list[list[str]], level: int) -> list[str]:
    """A header row with each group's name repeated over the group's columns."""
    row = list(grid[level])
    if level == len(grid) - 1:
        return row
    for column in range(1, len(row)):
        starts_group = any(grid[upper][column].strip() for upper in range(level))
        named_below = any(grid[lower][column].strip() for lower in range(level + 1, len(grid)))
        if not row[column].strip() and named_below and not starts_group:
            row[column] = row[column - 1]
    return row
