"""Workbooks (xlsx, xls, xlsb, ods) as records of text, read by calamine.

The library reads a sheet into memory, so a workbook's size is bounded, packed and unpacked.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from typing import BinaryIO

import python_calamine as calamine

from app.errors import TooLarge, Unprocessable
from app.tabular.batch import Batch
from app.tabular.container import damaged, kind_of, open_archive
from app.tabular.dialect import find_grammar
from app.tabular.ending import Ending
from app.tabular.layout import Hints, Layout
from app.tabular.structure import is_several

MAX_BYTES = 128 * 1024 * 1024
MAX_UNPACKED_BYTES = 384 * 1024 * 1024
MAX_CELLS = 32 * 1024 * 1024
"""How many cells there may be between a sheet's first one and its last."""
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')
_LONGEST_REFERENCE = 16
SAMPLE_ROWS = 1000
"""How many rows tell how wide a sheet's table is."""
_BATCH_ROWS = 2000
_MAX_EXACT = 2**53
_MOSTLY = 0.9
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
Value = int | float | str | bool | time | date | datetime | timedelta | None


def bounded(source: BinaryIO) -> bytes:
    """All bytes of a workbook; raises TooLarge."""
    data = source.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large()
    return data


def open_sheet(source: BinaryIO, wanted: str | None) -> tuple[str, list[list[str]], list[str]]:
    """A sheet's name, its records, and the names of all sheets with something in them.

    The wanted one, else the first that isn't empty. Raises Unprocessable and TooLarge.
    """
    source.seek(0)
    data = bounded(source)
    _check_unpacked(data)
    try:
        book = calamine.CalamineWorkbook.from_filelike(BytesIO(data))
        if wanted is not None:
            _check_sheet(wanted, book.sheet_names)
            return wanted, _records(book, wanted), [wanted]
        return _first_filled(book)
    except calamine.PasswordError as error:
        raise Unprocessable(
            "The workbook is locked with a password. Save it without one.", code="encrypted"
        ) from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise damaged("workbook") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of Rust: not an Exception, and not exported
            raise damaged("workbook") from error
        raise


def batches(source: BinaryIO, layout: Layout) -> Iterator[Batch]:
    """The sheet's data records."""
    source.seek(0, 2)
    size = source.tell()
    _, records, _ = open_sheet(source, layout.sheet)
    ending = Ending(layout.columns, layout.kinds)
    width = len(layout.columns)
    rows = [fitted(record, width) for record in records[layout.first_row - 1 :]]
    rows = rows[: ending.next_table(rows)]
    rows = rows[: ending.without_footer(rows)]
    for at in range(0, len(rows), _BATCH_ROWS):
        part = rows[at : at + _BATCH_ROWS]
        yield Batch(layout.first_row + at, part, end=size * (at + len(part)) // len(rows))


def fitted(record: list[str], width: int) -> list[str]:
    """Of the table's width, as a sheet's rows are; empty where there is nothing in it."""
    if not any(map(str.strip, record)):
        return []
    if len(record) > width and not any(map(str.strip, record[width:])):
        return record[:width]
    return record + [""] * (width - len(record))


def _first_filled(book: "calamine.CalamineWorkbook") -> tuple[str, list[list[str]], list[str]]:
    visible = [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.typ == calamine.SheetTypeEnum.WorkSheet
        and sheet.visible == calamine.SheetVisibleEnum.Visible
    ]
    sheets: dict[str, list[list[str]]] = {}
    for name in visible or book.sheet_names:
        if (records := _records(book, name)) and any(records):
            sheets[name] = records
            if any(map(is_several, records)):
                break
    if not sheets:
        raise Unprocessable(
            "The workbook has nothing in it. Send one with a table on a sheet.", code="empty_file"
        )
    last, records = sheets.popitem()
    if sheets and not any(map(is_several, records)):  # nowhere more than a column of texts
        sheets[last] = records
        last, records = next(iter(sheets.items()))
    others = visible or book.sheet_names
    return last, records, [name for name in others if name == last or _is_filled(book, name)]


def _is_filled(book: "calamine.CalamineWorkbook", name: str) -> bool:
    return book.get_sheet_by_name(name).height > 0


def _records(book: "calamine.CalamineWorkbook", name: str) -> list[list[str]]:
    """From the sheet's very first row and column on, so that rows are numbered as the sheet shows them."""
    sheet = book.get_sheet_by_name(name)
    if sheet.start is None:
        return []
    before = [""] * sheet.start[1]
    records: list[list[str]] = []
    blank: list[str] = []
    for row in sheet.iter_rows():
        filled = row.count("") < len(row)
        records.append([*before, *map(text_of, row)] if filled else blank)
    while records and not any(map(str.strip, records[-1])):
        records.pop()
    return unfolded(records)


def text_of(value: Value) -> str:
    """A cell as one would type it: numbers in the 15 digits that a sheet shows, dates as ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        midnight = value.time() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return "" if value is None else str(value)


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < _MAX_EXACT:
        return str(int(value))
    text = f"{value:.15g}"
    return text if "e" not in text else f"{Decimal(text):f}"


def unfolded(records: list[list[str]]) -> list[list[str]]:
    """The cells of a sheet with lines of CSV in its only column, as after a paste; else the records as they are."""
    places = {place for record in records for place, cell in enumerate(record) if cell.strip()}
    if len(places) != 1:
        return records
    (place,) = places
    lines = [record[place] if len(record) > place else "" for record in records]
    grammar, _ = find_grammar("\n".join(lines[:SAMPLE_ROWS]), Hints())
    rows = [(grammar.read_one(line) if line else None) or [] for line in lines]
    width = len(next(filter(None, rows), []))
    alike = sum(len(row) == width for row in rows if row)
    return rows if width > 1 and alike >= _MOSTLY * sum(map(bool, lines)) else records


class Extent:
    """How far the cells of a sheet reach. The library makes room for all between the first and the last: two cells in
    the sheet's corners would take more memory than there is, and end the process.
    """

    def __init__(self) -> None:
        self._columns: set[bytes] = set()
        self._last_row = 0
        self._before = b""

    def see(self, piece: bytes) -> None:
        """A further piece of the sheet's XML. Raises TooLarge."""
        found = _REFERENCE.findall(self._before + piece)
        self._before = piece[-_LONGEST_REFERENCE:]
        if not found:
            return
        columns, rows = zip(*found, strict=True)
        self._columns.update(columns)
        self._last_row = max(self._last_row, *map(int, set(rows)))
        if max(map(_column_number, self._columns)) * self._last_row > MAX_CELLS:
            raise TooLarge(
                f"The sheet has a cell as far out as row {self._last_row:,}, and one in column "
                f"{max(self._columns, key=_column_number).decode()}. Delete what is far from the table, "
                "or save the sheet as CSV and send that.",
                code="workbook_too_large",
            )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _check_unpacked(data: bytes) -> None:
    """Trusts no directory: counts what really comes out."""
    if kind_of(data) != "zip":
        return
    left = MAX_UNPACKED_BYTES
    with open_archive(BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_UNPACKED_BYTES:
            raise _too_large()
        for info in archive.infolist():
            try:
                extent = Extent()
                with archive.open(info) as member:
                    while piece := member.read(1 << 20):
                        left -= len(piece)
                        if left < 0:
                            raise _too_large()
                        if info.filename.startswith("xl/worksheets/"):
                            extent.see(piece)
            except _UNREADABLE as error:
                raise damaged("workbook") from error


def _too_large() -> TooLarge:
    return TooLarge(
        "The workbook is too large to be read. Save the sheet as CSV and send that.",
        code="workbook_too_large",
    )


def _check_sheet(wanted: str, names: list[str]) -> None:
    if wanted not in names:
        listed = ", ".join(repr(name) for name in names[:20])
        raise Unprocessable(
            f"There is no sheet {wanted[:100]!r}. The sheets are: {listed}", code="no_such_sheet"
        )
