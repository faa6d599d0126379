"""Rejected rows: a part of CSV per chunk in the object store, and what a retry must know about each.

A row keeps its cells as they were sent, each in its column; one that is too short is filled up, and what
one has beyond the header comes behind `_error`, so that nothing gets into a wrong column.
"""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from app.imports.cleaning import Cleaner, Reject
from app.imports.storable import storable
from app.tabular.batch import Batch
from app.tabular.spreadsheet import csv_text

OWN_COLUMNS = ("_row", "_column", "_error")
DUPLICATE = "duplicate"

_FACTS = struct.Struct("<IIIQ")
_UNREADABLE = 0xFFFFFFFF


class Rejected(NamedTuple):
    """A rejected row: how many cells it had, None where nobody could tell; and if another row has its
    key, the number of that row and a hash of the key, else zeros.
    """

    row_number: int
    cells: int | None
    winner: int = 0
    key: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk's rejected rows: CSV without a header, and the facts about them, packed."""

    text: bytes
    facts: bytes
    first: int
    last: int
    count: int


def header_line(columns: Sequence[str]) -> bytes:
    """The first line of a file of rejected rows."""
    return csv_text([[*columns, *OWN_COLUMNS]]).encode()


def make_part(rejects: Sequence[Reject], facts: Sequence[Rejected], *, width: int) -> Part | None:
    """Of rows in the file's order; None where there are none."""
    if not rejects:
        return None
    numbers = [reject.row_number for reject in rejects]
    return Part(
        csv_text(_line(reject, width) for reject in rejects).encode("utf-8", "replace"),
        b"".join(_FACTS.pack(row, _cells(cells), winner, key) for row, cells, winner, key in facts),
        min(numbers),
        max(numbers),
        len(rejects),
    )


def read_facts(packed: bytes) -> dict[int, Rejected]:
    """By row number."""
    return {
        row: Rejected(row, None if cells == _UNREADABLE else cells, winner, key)
        for row, cells, winner, key in _FACTS.iter_unpack(packed)
    }


def facts_of(
    rejects: Iterable[Reject], batch: Batch, duplicates: Mapping[int, int], cleaner: Cleaner
) -> list[Rejected]:
    """About rejects of one batch, by its own numbers."""
    found: list[Rejected] = []
    for reject in rejects:
        position = reject.row_number - batch.first_row
        cells = None if position in batch.problems else _kept_cells(batch.records[position])
        if reject.code != DUPLICATE:
            found.append(Rejected(reject.row_number, cells))
            continue
        winner = duplicates[reject.row_number]
        (key,) = key_hashes(cleaner, [batch.records[position]])
        found.append(Rejected(reject.row_number, cells, winner, key))
    return found


def key_hashes(cleaner: Cleaner, records: Sequence[list[str]]) -> list[int]:
    """64 bits of each record's key, the same in every process; 0 where it has none."""
    if not records:
        return []
    keys = cleaner.keys(Batch(1, list(records)))
    return [
        int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) if key else 0 for key in keys
    ]


def own_positions(columns: Collection[str]) -> dict[str, int]:
    """Where `_row`, `_column` and `_error` are among the columns; those that aren't are left out."""
    found: dict[str, int] = {}
    for position, column in enumerate(columns):
        name = column.strip().lower()
        if name in OWN_COLUMNS:
            found.setdefault(name, position)
    return found


def _kept_cells(record: list[str]) -> int | None:
    """How many there are; None where one of them can't be written as it is."""
    return len(record) if all(storable(cell) == cell for cell in record) else None


def _line(reject: Reject, width: int) -> list[str]:
    cells = reject.cells
    padded = [*cells[:width], *[""] * (width - len(cells))]
    own = [str(reject.row_number), reject.column or "", reject.message]
    return [*padded, *own, *cells[width:]]


def _cells(cells: int | None) -> int:
    return _UNREADABLE if cells is None else cells
