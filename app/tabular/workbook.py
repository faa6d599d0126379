"""Workbooks (xlsx, xls, xlsb, ods) as records of text, read by calamine.

The library reads a sheet into memory, so a workbook's size is bounded, packed and unpacked.
"""

import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import BinaryIO

import python_calamine as calamine

from app.errors import TooLarge, Unprocessable
from app.tabular.batch import Batch
from app.tabular.container import damaged, kind_of, open_archive
from app.tabular.ending import Ending
from app.tabular.layout import Layout

MAX_BYTES = 128 * 1024 * 1024
MAX_UNPACKED_BYTES = 384 * 1024 * 1024
SAMPLE_ROWS = 1000
"""How many rows tell how wide a sheet's table is."""
_BATCH_ROWS = 2000
_MAX_EXACT = 2**53
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
    chosen: tuple[str, list[list[str]]] | None = None
    filled = []
    for name in visible or book.sheet_names:
        if chosen is not None:
            filled += [name] if book.get_sheet_by_name(name).height else []
            continue
        records = _records(book, name)
        if any(records):
            chosen = name, records
            filled.append(name)
    if chosen is None:
        raise Unprocessable(
            "The workbook has nothing in it. Send one with a table on a sheet.", code="empty_file"
        )
    return *chosen, filled


def _records(book: "calamine.CalamineWorkbook", name: str) -> list[list[str]]:
    """From the sheet's very first row and column on, so that rows are numbered as the sheet shows them."""
    sheet = book.get_sheet_by_name(name)
    if sheet.start is None:
        return []
    first_row, first_column = sheet.start
    rows = ([*[""] * first_column, *map(text_of, row)] for row in sheet.to_python())
    return [*([[]] * first_row), *(row if any(row) else [] for row in rows)]


def text_of(value: Value) -> str:
    """A cell as one would type it: whole numbers without a point, dates as ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _MAX_EXACT else repr(value)
    if isinstance(value, datetime):
        midnight = value.time() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return "" if value is None else str(value)


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
                with archive.open(info) as member:
                    while piece := member.read(1 << 20):
                        left -= len(piece)
                        if left < 0:
                            raise _too_large()
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
