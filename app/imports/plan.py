"""Planning: one pass over the file that cuts it into chunks and finds the rows that a later row replaces.

The pass keeps 12 bytes a row: a 64-bit keyed hash of the e-mail address and the row number. Two
addresses that collide would cost one row, reported as a duplicate; at a million rows the odds are
about 1 in 37 million.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.imports.emails import email_key
from app.imports.records import is_blank, records

_BUCKETS = 256


@dataclass(slots=True)
class Chunk:
    """Whole records, bytes `start` (included) to `end` (excluded); `first_row` counts from 1, the header's."""

    start: int
    end: int
    first_row: int
    rows: int
    superseded: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """`total` counts the rows that aren't blank; every byte below the header is in one chunk."""

    chunks: list[Chunk]
    total: int


def plan_file(blocks: Iterable[bytes], *, width: int, email_column: int, chunk_bytes: int) -> Plan:
    """Cut into chunks of at least `chunk_bytes` (the last may be smaller).

    `width` is the number of columns: rows with another number of cells are rejected later, and so
    replace nothing. Raises LineTooLong.
    """
    keys = _LastRowWins()
    chunks: list[Chunk] = []
    total = start = end = first_row = rows = 0
    for number, record in enumerate(records(blocks), 1):
        if first_row == 0:
            if not is_blank(record.cells):
                start, first_row = record.end, number + 1
            continue
        rows += 1
        cells = record.cells
        address = cells[email_column].strip() if len(cells) == width else ""
        if address:
            total += 1
            keys.add(email_key(address), number)
        elif record.error is not None or not is_blank(cells):
            total += 1
        if record.end - start >= chunk_bytes:
            chunks.append(Chunk(start, record.end, first_row, rows))
            start, first_row, rows = record.end, number + 1, 0
        end = record.end
    if rows:
        chunks.append(Chunk(start, end, first_row, rows))
    _assign(chunks, keys.superseded())
    return Plan(chunks, total)


def _assign(chunks: list[Chunk], superseded: list[tuple[int, int]]) -> None:
    """Give each chunk its own superseded rows; both lists are in row order."""
    position = 0
    for chunk in chunks:
        last = chunk.first_row + chunk.rows
        while position < len(superseded) and superseded[position][0] < last:
            row, winner = superseded[position]
            chunk.superseded[row] = winner
            position += 1


class _LastRowWins:
    """Finds equal keys among millions in bounded memory, bucket by bucket."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_BUCKETS)]
        self._rows = [array("I") for _ in range(_BUCKETS)]

    def add(self, key: str, row: int) -> None:
        digest = hash(key)
        bucket = digest % _BUCKETS
        self._hashes[bucket].append(digest)
        self._rows[bucket].append(row)

    def superseded(self) -> list[tuple[int, int]]:
        """(row, the last row with the same key), by row."""
        pairs: list[tuple[int, int]] = []
        for hashes, rows in zip(self._hashes, self._rows, strict=True):
            last = dict(zip(hashes, rows, strict=True))
            if len(last) < len(hashes):
                pairs.extend(
                    (row, last[digest])
                    for digest, row in zip(hashes, rows, strict=True)
                    if last[digest] != row
                )
        return sorted(pairs)
