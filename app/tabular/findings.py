"""From the records of a file's beginning to its layout: header, columns, footer, doubts."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import Unprocessable
from app.tabular.ending import Ending
from app.tabular.header import Found, column_names, find_header, has_row_names
from app.tabular.kinds import column_kinds
from app.tabular.layout import Doubt, Hints, Layout
from app.tabular.touch_up import TouchUp

_SEEN = 1000
_MOST_HEADER_ROWS = 5
_ENOUGH = 4


def describe(
    records: list[list[str]],
    layout: Layout,
    width: int,
    hints: Hints,
    doubts: Sequence[Doubt],
    *,
    complete: bool,
) -> Layout:
    """The layout with what the records show; `complete`: they are all there are."""
    head = records[:_SEEN]
    body = _first_rows(head, width)
    skip = min(_MOST_HEADER_ROWS, len(body) // 2)
    found = _header(head, width, column_kinds(body[skip:], width), hints)
    shift = has_row_names(head, found, width)
    columns = column_names(head, found.rows, width, shift=shift)
    kinds = column_kinds(_first_rows(records[found.data : found.data + _SEEN], width), width)
    layout = layout.model_copy(
        update={
            "header_rows": tuple(row + 1 for row in found.rows),
            "first_row": found.data + 1,
            "columns": columns,
            "kinds": kinds,
        }
    )
    end = _end(records, layout) if complete else _End()
    notes = [
        *doubts,
        *_header_doubts(head, found, hints),
        *_short_doubts(head, found, width),
        *_end_doubts(end),
    ]
    return layout.model_copy(update={"footer_rows": end.records, "doubts": tuple(notes)})


@dataclass(frozen=True, slots=True)
class _End:
    """How many records come after the table, how many of them say something, and another table's row."""

    records: int = 0
    filled: int = 0
    another: int | None = None


def _first_rows(records: list[list[str]], width: int) -> list[list[str]]:
    """The rows of the table's width up to the first gap: what comes after could be another table's."""
    rows: list[list[str]] = []
    for record in records:
        blank = not any(map(str.strip, record))
        if blank and len(rows) >= _ENOUGH:
            break
        if len(record) == width and not blank:
            rows.append(record)
    return rows


def _header(records: list[list[str]], width: int, kinds: Sequence[str], hints: Hints) -> Found:
    if hints.header_row is None:
        return find_header(records, width, kinds)
    if hints.header_row == 0:
        first = next((at for at, record in enumerate(records) if len(record) == width), 0)
        return Found((), first, sure=True)
    if hints.header_row > len(records) or not records[hints.header_row - 1]:
        raise Unprocessable(
            f"Row {hints.header_row} is no header: the file has nothing there.", code="no_header"
        )
    return Found((hints.header_row - 1,), hints.header_row, sure=True)


def _end(records: list[list[str]], layout: Layout) -> _End:
    rows = [list(record) for record in records[layout.first_row - 1 :]]
    TouchUp(layout).empty_blanks(rows)
    ending = Ending(layout.columns, layout.kinds)
    another = ending.next_table(rows)
    kept = ending.without_footer(rows[:another])
    filled = sum(1 for row in rows[kept:] if row)
    row = None if another is None else layout.first_row + another
    return _End(len(rows) - kept, filled, row)


def _header_doubts(records: list[list[str]], found: Found, hints: Hints) -> list[Doubt]:
    doubts = []
    first = found.rows[0] if found.rows else found.data
    above = any(any(map(str.strip, record)) for record in records[:first])
    if above:
        message = f"What stands above the table, up to row {first}, is not read."
        doubts.append(Doubt(code="preamble", message=message))
    if hints.header_row is not None:
        return doubts
    if not found.rows:
        doubts.append(
            Doubt(
                code="no_header",
                message="The first row looks like data, so the columns are called column 1, column 2 "
                "and so on. If it is a header, say so with header_row.",
            )
        )
    elif len(found.rows) > 1:
        doubts.append(
            Doubt(
                code="several_header_rows",
                message=f"The names of the columns are put together from {len(found.rows)} rows.",
            )
        )
    elif not found.sure:
        doubts.append(
            Doubt(
                code="header_unsure",
                message=f"Row {found.rows[0] + 1} is taken for the header, but it could be data.",
            )
        )
    return doubts


def _short_doubts(records: list[list[str]], found: Found, width: int) -> list[Doubt]:
    if len(found.rows) != 1 or len(records[found.rows[0]]) >= width:
        return []
    message = (
        f"The header has {len(records[found.rows[0]])} names and the rows have {width} cells. "
        "Check that each name stands above its column."
    )
    return [Doubt(code="header_short", message=message)]


def _end_doubts(end: _End) -> list[Doubt]:
    if end.another is not None:
        message = f"Another table begins at row {end.another}; only the first one is read."
        return [Doubt(code="several_tables", message=message)]
    if end.filled:
        message = "What stands below the table, such as totals and notes, is not read."
        return [Doubt(code="footer", message=message)]
    return []
