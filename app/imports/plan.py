"""Planning: one pass over the file that cuts it into chunks and finds the rows that a later row replaces.

The pass keeps 12 bytes a row: a 64-bit keyed hash of the e-mail address and the row number. Two
addresses that collide would cost one row, reported as a duplicate; at a million rows the odds are
about 1 in 37 million.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.imports.emails import email_key
from app.imports.records import RecordReader, is_blank

_BUCKETS = 256
_PIECE_BYTES = 512 * 1024


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
    """Cut into chunks of about `chunk_bytes` (the last may be smaller).

    `width` is the number of columns: rows with another number of cells are rejected later, and so
    replace nothing. Raises LineTooLong.
    """
    reader = RecordReader(_pieces(blocks, min(chunk_bytes, _PIECE_BYTES)))
    keys = _LastRowWins()
    chunks: list[Chunk] = []
    total = start = first_row = number = 0
    for number, (cells, error) in enumerate(reader, 1):
        if first_row == 0:
            if not is_blank(cells):
                start, first_row = reader.offset(), number + 1
            continue
        address = cells[email_column].strip() if len(cells) == width else ""
        if address:
            total += 1
            keys.add(email_key(address), number)
        elif error is not None or not is_blank(cells):
            total += 1
        if reader.at_block_end() and (end := reader.offset()) - start >= chunk_bytes:
            chunks.append(Chunk(start, end, first_row, number + 1 - first_row))
            start, first_row = end, number + 1
    if first_row and number >= first_row:
        chunks.append(Chunk(start, reader.offset(), first_row, number + 1 - first_row))
    _assign(chunks, keys.superseded())
    return Plan(chunks, total)


def _pieces(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of at most `size`: a chunk can end where a piece does."""
    for block in blocks:
        for position in range(0, len(block), size):
            yield block[position : position + size]


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
