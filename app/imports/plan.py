"""Planning: one pass over the file that cuts it into chunks and finds the rows that repeat another's key.

The first row with a key is the one that is used, so that of each chunk all is known once its end has been
read: the chunks are handed over in steps, small ones first, while the pass goes on. The same file is always
cut at the same places. A pass that begins again, behind chunks that are recorded, reads what is before them
for its keys alone.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from app.errors import Unprocessable
from app.imports.chunks import Chunk, Recorded
from app.imports.cleaning import Cleaner
from app.imports.duplicates import FirstRowWins, Hashes, Rows, hash_keys
from app.imports.reading import Reader
from app.plurals import counted
from app.tabular.batch import Batch
from app.tabular.regular import filled

NOTHING_RECORDED = Recorded(0, 0, 0)
STEP_CHUNKS = 64
STEP_SECONDS = 4.0
"""A step is over after so many chunks, or so long: what is found gets known at least this often."""

STEP_ROWS = 500_000
"""Where nothing is handed over, keys are compared so many at a time."""

Keep = Callable[[int, list[Batch]], str]
"""Stores the records of a chunk, by its number, and returns the object's key."""


@dataclass(slots=True)
class _Cut:
    """The chunk that is being filled."""

    index: int
    start: int
    first_row: int = 0
    rows: int = 0
    filled: int = 0
    chars: int = 0
    batches: list[Batch] = field(default_factory=list)

    def chunk(self, end: int, object_key: str | None) -> Chunk:
        return Chunk(
            index=self.index,
            start=self.start,
            end=end,
            first_row=self.first_row,
            rows=self.rows,
            filled=self.filled,
            object_key=object_key,
        )


@dataclass(slots=True)
class _Keys:
    """Keys that were read and not compared yet."""

    hashes: list[Hashes] = field(default_factory=list)
    numbers: list[Rows] = field(default_factory=list)
    labels: list[Rows] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.numbers))

    def flush(self, known: FirstRowWins) -> list[tuple[int, int]]:
        if not self.hashes:
            return []
        pairs = known.add(
            np.concatenate(self.hashes), np.concatenate(self.numbers), np.concatenate(self.labels)
        )
        self.hashes, self.numbers, self.labels = [], [], []
        return pairs


class Planner:
    """One pass. `keep` is None where chunks can be read from the file itself."""

    def __init__(
        self,
        reader: Reader,
        cleaner: Cleaner,
        *,
        chunk_bytes: int,
        max_rows: int,
        keep: Keep | None = None,
        behind: Recorded = NOTHING_RECORDED,
    ) -> None:
        self._reader = reader
        self._cleaner = cleaner
        self._chunk_bytes = chunk_bytes
        self._max_rows = max_rows
        self._keep = keep
        self._behind = behind
        self._cut = _Cut(behind.chunks, behind.end)
        self._keys = _Keys()
        self._rows = 0

    def steps(self, batches: Iterable[Batch]) -> Iterator[list[Chunk]]:
        """The chunks behind those that are recorded, some at a time. Raises Unprocessable
        (`too_many_rows`) for a file over the limit.
        """
        ready: list[Chunk] = []
        size, began, end = 1, time.monotonic(), self._behind.end
        with FirstRowWins() as known:
            for batch in batches:
                self._take(batch, known)
                end = max(end, batch.end)
                if self._is_full(end):
                    ready.append(self._close(end))
                if ready and (len(ready) >= size or time.monotonic() - began > STEP_SECONDS):
                    yield _with_superseded(ready, self._keys.flush(known))
                    ready = []
                    size, began = min(size * 2, STEP_CHUNKS), time.monotonic()
            if self._cut.rows:
                ready.append(self._close(end))
            if ready:
                yield _with_superseded(ready, self._keys.flush(known))

    def _is_full(self, end: int) -> bool:
        """By what it takes up in the file; where that is packed, by what has come out."""
        cut = self._cut
        return cut.rows > 0 and (cut.chars if self._keep else end - cut.start) >= self._chunk_bytes

    def _take(self, batch: Batch, known: FirstRowWins) -> None:
        """Note the batch's keys, and put what isn't recorded yet into the chunk."""
        read = self._reader.read(batch)
        keys = self._cleaner.keys(read.batch)
        for row in read.duplicates:
            keys[row - batch.first_row] = ""
        numbers = np.arange(batch.first_row, batch.first_row + len(keys), dtype=np.uint32)
        self._keys.hashes.append(hash_keys(keys))
        self._keys.numbers.append(numbers)
        labels = numbers if read.numbers is None else np.array(read.numbers, np.uint32)
        self._keys.labels.append(labels)
        recorded = max(0, min(self._behind.next_row - batch.first_row, len(batch.records)))
        if recorded == len(batch.records) and self._keys.count > STEP_ROWS:
            self._keys.flush(known)
        rows = filled(batch.records)
        self._count(rows)
        if recorded < len(batch.records):
            self._fill(_without(batch, recorded), rows)

    def _count(self, rows: int) -> None:
        self._rows += rows
        if self._rows > self._max_rows:
            raise Unprocessable(
                f"The file has more than {counted(self._max_rows, 'row')}, which is the limit. "
                "Split it and send the parts.",
                code="too_many_rows",
            )

    def _fill(self, batch: Batch, rows: int) -> None:
        cut = self._cut
        if not cut.rows:
            cut.first_row = batch.first_row
            cut.start = cut.start or batch.start
        cut.rows += len(batch.records)
        cut.filled += rows
        if self._keep:
            cut.batches.append(batch)
            cut.chars += sum(map(len, chain.from_iterable(batch.records)))

    def _close(self, end: int) -> Chunk:
        """End the chunk here and begin the next."""
        cut = self._cut
        object_key = self._keep(cut.index, cut.batches) if self._keep else None
        self._cut = _Cut(cut.index + 1, end)
        return cut.chunk(end, object_key)


def _without(batch: Batch, count: int) -> Batch:
    """The batch without its first `count` records."""
    if count == 0:
        return batch
    problems = {at - count: what for at, what in batch.problems.items() if at >= count}
    return replace(
        batch,
        first_row=batch.first_row + count,
        records=batch.records[count:],
        problems=problems,
    )


def _with_superseded(chunks: list[Chunk], pairs: list[tuple[int, int]]) -> list[Chunk]:
    """Give each chunk its own rows; both lists are in row order."""
    position = 0
    for chunk in chunks:
        while position < len(pairs) and pairs[position][0] < chunk.first_row:
            position += 1  # of a chunk that is recorded
        last = chunk.first_row + chunk.rows
        while position < len(pairs) and pairs[position][0] < last:
            row, winner = pairs[position]
            chunk.superseded[row] = winner
            position += 1
    return chunks
