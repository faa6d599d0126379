"""Rows into files: CSV, XLSX and Parquet, each as it comes and in bounded memory."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import Unprocessable
from app.exports.order import Format
from app.exports.rows import Column
from app.exports.tables import Kind
from app.tabular.guarded_rows import guard_rows
from app.tabular.spreadsheet import csv_text

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES = 4 * 1024 * 1024
"""Of a row group of Parquet, as CSV."""
SHEET_ROWS = 1_048_576
MAX_CELL_CHARS = 32_767
"""Both are the format's own limits, the header's row included."""
XLSX_MAX_ROWS = 3_000_000
"""A worker writes a few thousand of them a second, and has 14 minutes."""
_DATE_WIDTH, _TEXT_WIDTH = 20, 24

Blocks = Iterable[bytes]
"""Rows as COPY writes them: CSV, about a megabyte of whole rows each, every row with a line feed at its end."""


class Sink(Protocol):
    """What is written to."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take the next bytes."""


class Write(Protocol):
    """Writes all rows. `seen(rows)` is called every few megabytes at least, with how many rows are written."""

    def __call__(
        self, sink: Any, blocks: Blocks, columns: Sequence[Column], *, seen: Callable[[int], None]
    ) -> int:
        """Returns how many rows there were."""


def write_csv(
    sink: Any, blocks: Blocks, columns: Sequence[Column], *, seen: Callable[[int], None]
) -> int:
    """RFC 4180, UTF-8, a header. No cell is taken for a formula by a spreadsheet."""
    sink.write(csv_header(columns))
    return write_csv_rows(sink, blocks, seen=seen)


def csv_header(columns: Sequence[Column]) -> bytes:
    """The first line."""
    return csv_text([[column.name for column in columns]]).encode()


def write_csv_rows(sink: Any, blocks: Blocks, *, seen: Callable[[int], None]) -> int:
    """The lines behind the header, or a run of them."""
    done = 0
    for block in blocks:
        rows, lines = _with_line_ends(guard_rows(block))
        sink.write(lines)
        done += rows
        seen(done)
    return done


def write_xlsx(
    sink: Any, blocks: Blocks, columns: Sequence[Column], *, seen: Callable[[int], None]
) -> int:
    """Typed cells, on as many sheets as are needed. No text is ever a formula or a link.

    The rows of a sheet wait in a temporary file. Raises Unprocessable (`cell_too_long`).
    """
    from xlsxwriter import Workbook

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    done = 0
    with TemporaryDirectory(prefix="export-") as folder:
        book = Workbook(sink, {**options, "tmpdir": folder})
        book.use_zip64()
        sheets = _Sheets(book, columns)
        try:
            for block in blocks:
                for line in csv.reader(io.StringIO(block.decode(), newline="")):
                    sheets.add(line or [""])  # the one cell of the row is null
                    done += 1
                seen(done)
            book.close()
        finally:
            sheets.close()
    return done


def write_parquet(
    sink: Any, blocks: Blocks, columns: Sequence[Column], *, seen: Callable[[int], None]
) -> int:
    """Typed columns, compressed, in row groups. Decimals keep their digits, moments are in UTC."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(column.name, _arrow_type(column.kind)) for column in columns])
    done = 0
    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for group in _groups(blocks):
            table = _arrow_table(group, schema)
            writer.write_table(table)
            done += table.num_rows
            seen(done)
    return done


FORMATS: Mapping[Format, Write] = MappingProxyType(
    {Format.CSV: write_csv, Format.XLSX: write_xlsx, Format.PARQUET: write_parquet}
)
"""How each is written."""


def _with_line_ends(block: bytes) -> tuple[int, bytes]:
    """How many rows there are, and the rows, each with CR and LF at its end. Between every other two quotes
    is what belongs to a cell; a quote in a cell is two, with nothing between them.
    """
    if b'"' not in block:
        lines = block.replace(b"\n", b"\r\n")
        return len(lines) - len(block), lines
    parts = block.split(b'"')
    outside = parts[::2]
    rows = sum(part.count(b"\n") for part in outside)
    parts[::2] = [part.replace(b"\n", b"\r\n") for part in outside]
    return rows, b'"'.join(parts)


class _Sheets:
    """The sheet that is being written, and the next one when it is full."""

    def __init__(self, book: Any, columns: Sequence[Column]) -> None:
        self._book = book
        self._columns = columns
        self._bold = book.add_format({"bold": True, "bottom": 1})
        self._date = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._number = 0
        self._begin()

    def add(self, line: Sequence[str]) -> None:
        """Write a row."""
        if self._row >= SHEET_ROWS:
            self._begin()
        sheet, row = self._sheet, self._row
        for index, (cell, column) in enumerate(zip(line, self._columns, strict=True)):
            if cell:
                self._write(sheet, row, index, cell, column)
        self._row += 1

    def close(self) -> None:
        """Close the temporary files of sheets that came to nothing."""
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()

    def _write(self, sheet: Any, row: int, index: int, cell: str, column: Column) -> None:
        match column.kind:
            case Kind.INTEGER:
                sheet.write_number(row, index, int(cell))
            case Kind.DECIMAL:
                sheet.write_number(row, index, Decimal(cell))
            case Kind.MOMENT:
                moment = datetime.fromisoformat(cell).astimezone(UTC).replace(tzinfo=None)
                sheet.write_datetime(row, index, moment, self._date)
            case _ if len(cell) <= MAX_CELL_CHARS:
                sheet.write_string(row, index, cell)
            case _:
                raise Unprocessable(
                    f"A cell of {column.name!r} has {len(cell):,} characters; a spreadsheet holds "
                    f"{MAX_CELL_CHARS:,}. Ask for 'csv' or 'parquet'.",
                    code="cell_too_long",
                )

    def _begin(self) -> None:
        self._number += 1
        self._sheet = self._book.add_worksheet(
            "Export" if self._number == 1 else f"Export {self._number}"
        )
        self._sheet.freeze_panes(1, 0)
        for index, column in enumerate(self._columns):
            width = _DATE_WIDTH if column.kind is Kind.MOMENT else _TEXT_WIDTH
            self._sheet.set_column(index, index, width)
            self._sheet.write_string(0, index, column.name[:MAX_CELL_CHARS], self._bold)
        self._row = 1


def _groups(blocks: Blocks) -> Iterator[bytes]:
    held = bytearray()
    for block in blocks:
        held += block
        if len(held) >= ROW_GROUP_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _arrow_type(kind: Kind) -> "pa.DataType":
    import pyarrow as pa

    match kind:
        case Kind.INTEGER:
            return pa.int64()
        case Kind.DECIMAL:
            return pa.decimal128(14, 4)
        case Kind.MOMENT:
            return pa.timestamp("us", tz="UTC")
        case _:
            return pa.string()


def _arrow_table(block: bytes, schema: "pa.Schema") -> "pa.Table":
    """Rows of CSV, read by the names and types of the schema; what is empty without quotes is null."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [f"c{number}" for number in range(len(schema))]
    table = arrow_csv.read_csv(
        pa.BufferReader(block),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, column_names=names, block_size=len(block) + 1
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict(zip(names, schema.types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return table.rename_columns(schema.names)
