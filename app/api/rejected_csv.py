"""The rejected rows of an import as CSV, streamed from the database."""

import csv
import io
from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Engine, select

from app.models import RejectedRow

_ROWS_PER_BLOCK = 1000


def rejected_csv(engine: Engine, import_id: UUID, columns: list[str]) -> Iterator[str]:
    """Blocks of CSV text in the file's own columns, then `_row`, `_column`, `_error`; by row number."""
    query = (
        select(RejectedRow.row_number, RejectedRow.column, RejectedRow.message, RejectedRow.cells)
        .where(RejectedRow.import_id == import_id)
        .order_by(RejectedRow.row_number)
        .execution_options(yield_per=_ROWS_PER_BLOCK)
    )
    yield _text([[*columns, "_row", "_column", "_error"]])
    with engine.connect() as connection:
        for block in connection.execute(query).partitions():
            yield _text([_line(len(columns), row.cells, row) for row in block])


def _line(width: int, cells: list[str], row: object) -> list[str]:
    """The cells in the header's width; what was beyond it is joined into the last column's end."""
    padded = [*cells[:width], *[""] * (width - len(cells))]
    extra = cells[width:]
    if extra:
        padded[-1] = ",".join([padded[-1], *extra])
    return [*padded, str(row.row_number), row.column or "", row.message]  # type: ignore[attr-defined]


def _text(lines: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue()
