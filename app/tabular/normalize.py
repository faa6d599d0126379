"""A table written as the importer reads it: UTF-8, commas, RFC 4180 quotes, LF, the header first."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from app.tabular.batch import Batch
from app.tabular.table import Table

_LONE = dict.fromkeys(range(55296, 57344), "�")


@dataclass(slots=True)
class Summary:
    """What was written."""

    rows: int = 0
    blank: int = 0
    short: int = 0
    long: int = 0
    repaired: int = 0
    footer_rows: int = 0
    problems: Counter[str] = field(default_factory=Counter)


def normalize(table: Table, out: BinaryIO) -> Summary:
    """Write the table. Blank records are left out, short rows are filled up; the rest is kept.

    A row with a problem is written with the cells that could be read, U+FFFD for what could not.
    """
    width = len(table.layout.columns)
    summary = Summary()
    rows = csv.writer(_Encoded(out), lineterminator="\r\n")
    rows.writerow(table.layout.columns)
    for batch in table.batches():
        rows.writerows(_rows(batch, width, summary))
    summary.footer_rows = table.footer_rows
    return summary


def _rows(batch: Batch, width: int, summary: Summary) -> Iterator[Sequence[str]]:
    summary.repaired += batch.repaired
    summary.problems.update(problem.code for problem in batch.problems.values())
    for record in batch.records:
        if not record:
            summary.blank += 1
            continue
        summary.rows += 1
        summary.short += len(record) < width
        summary.long += len(record) > width
        yield record + [""] * (width - len(record))


class _Encoded:
    """What csv.writer writes rows to. It quotes a carriage return only if lines end with one; ours don't."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, row: str) -> int:
        """One row, in UTF-8."""
        line = row.removesuffix("\r\n") + "\n"
        try:
            data = line.encode()
        except UnicodeEncodeError:
            data = line.translate(_LONE).encode()
        return self._out.write(data)
