"""Rows of one file that have the same key: which of them comes first.

A key is known by 64 bits of Python's own keyed hash, and by the number of its first row: 12 bytes. Sorted
runs of them are merged as they grow; beyond `MEMORY_KEYS` they go to temporary files, and a bitmap says of
nearly every new key that no run can have it. Two keys that collide would cost one row, reported as a
duplicate: the odds are 1 in 37 million for a million rows, and 1 in 370,000 for ten million.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.uint32]
Pairs: TypeAlias = list[tuple[int, int]]

MEMORY_KEYS = 1_000_000
_MERGE = 8
"""So many runs of about one size become one."""
_LEAST_BITS = 1 << 20
_BITS_PER_KEY = 8


def hash_keys(keys: Sequence[str]) -> Hashes:
    """One number a key; 0 for "", which is no key. Different in every process."""
    return np.fromiter(map(hash, keys), np.int64, len(keys))


@dataclass(frozen=True, slots=True)
class _Run:
    """Keys sorted by hash, each with its row. `file` has them where they aren't in memory."""

    size: int
    hashes: Hashes | None = None
    rows: Rows | None = None
    file: IO[bytes] | None = None

    def load(self) -> tuple[Hashes, Rows]:
        if self.hashes is not None and self.rows is not None:
            return self.hashes, self.rows
        assert self.file is not None
        self.file.seek(0)
        data = self.file.read()
        return (
            np.frombuffer(data, np.int64, self.size),
            np.frombuffer(data, np.uint32, self.size, offset=8 * self.size),
        )


class FirstRowWins:
    """Feed it a file's keys in order. Memory: 40 MB at most, and 1 to 2 bytes a key for the bitmap."""

    def __init__(self, *, memory_keys: int = MEMORY_KEYS) -> None:
        self._memory_keys = memory_keys
        self._runs: list[_Run] = []
        self._spilled: list[_Run] = []
        self._bitmap = np.zeros(_LEAST_BITS // 8, np.uint8)
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for run in self._spilled:
            if run.file is not None:
                run.file.close()

    def add(self, hashes: Hashes, numbers: Rows, labels: Rows | None = None) -> Pairs:
        """Add keys; returns (number, winner) for each row whose key an earlier row has, in order.

        `labels` is what winners are called, where that isn't their number. A hash of 0 is no key.
        """
        labels = numbers if labels is None else labels
        real = hashes != 0
        if not real.all():
            hashes, numbers, labels = hashes[real], numbers[real], labels[real]
        order = np.argsort(hashes, kind="stable")
        hashes, numbers, labels = hashes[order], numbers[order], labels[order]
        winners = self._first_of_each(hashes, labels)
        found = winners != labels
        found[1:] |= hashes[1:] == hashes[:-1]
        self._look_up(hashes, winners, found)
        self._insert(hashes[~found], labels[~found])
        pairs = list(zip(numbers[found].tolist(), winners[found].tolist(), strict=True))
        return sorted(pairs)

    @staticmethod
    def _first_of_each(hashes: Hashes, labels: Rows) -> Rows:
        """For each key of the sorted batch, the label of the batch's first row with that key."""
        if len(hashes) == 0:
            return labels.copy()
        begins = np.empty(len(hashes), bool)
        begins[0] = True
        np.not_equal(hashes[1:], hashes[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        return np.repeat(labels[starts], np.diff(np.append(starts, len(hashes))))

    def _look_up(self, hashes: Hashes, winners: Rows, found: NDArray[np.bool_]) -> None:
        """Put the earlier batches' rows into `winners`, and say in `found` where there are any."""
        maybe = np.flatnonzero(self._in_bitmap(hashes))
        for run in (*self._runs, *self._spilled):
            if len(maybe) == 0:
                return
            known, rows = run.load()
            wanted = hashes[maybe]
            places = np.searchsorted(known, wanted)
            places[places == run.size] = 0
            hit = known[places] == wanted
            winners[maybe[hit]] = rows[places[hit]]
            found[maybe[hit]] = True
            maybe = maybe[~hit]

    def _insert(self, hashes: Hashes, rows: Rows) -> None:
        if len(hashes) == 0:
            return
        self._size += len(hashes)
        self._runs.append(_Run(len(hashes), hashes.copy(), rows.copy()))
        while len(self._runs) >= _MERGE and self._runs[-1].size * _MERGE > self._runs[-_MERGE].size:
            self._runs[-_MERGE:] = [_merged(self._runs[-_MERGE:])]
        if sum(run.size for run in self._runs) > self._memory_keys:
            self._spill()
        if self._size * _BITS_PER_KEY > len(self._bitmap) * 8:
            self._grow()
        else:
            self._mark(hashes)

    def _spill(self) -> None:
        run = _merged(self._runs)
        assert run.hashes is not None
        assert run.rows is not None
        file = tempfile.TemporaryFile(prefix="millrace-keys-")  # noqa: SIM115 - closed by __exit__
        self._spilled.append(_Run(run.size, file=file))
        self._runs = []
        file.write(run.hashes.data)
        file.write(run.rows.data)
        file.flush()

    def _in_bitmap(self, hashes: Hashes) -> NDArray[np.bool_]:
        first, second = self._bits(hashes)
        bitmap = self._bitmap
        seen: NDArray[np.bool_] = (bitmap[first >> 3] >> (first & 7)) & 1 == 1
        seen &= (bitmap[second >> 3] >> (second & 7)) & 1 == 1
        return seen

    def _mark(self, hashes: Hashes) -> None:
        for bits in self._bits(hashes):
            np.bitwise_or.at(self._bitmap, bits >> 3, np.uint8(1) << (bits & 7).astype(np.uint8))

    def _bits(self, hashes: Hashes) -> tuple[Hashes, Hashes]:
        mask = len(self._bitmap) * 8 - 1
        return hashes & mask, (hashes >> 32) & mask

    def _grow(self) -> None:
        size = len(self._bitmap)
        while self._size * _BITS_PER_KEY > size * 8:
            size *= 2
        self._bitmap = np.zeros(size, np.uint8)
        for run in (*self._runs, *self._spilled):
            self._mark(run.load()[0])


def _merged(runs: Sequence[_Run]) -> _Run:
    loaded = [run.load() for run in runs]
    hashes = np.concatenate([hashes for hashes, _ in loaded])
    rows = np.concatenate([rows for _, rows in loaded])
    order = np.argsort(hashes, kind="stable")
    return _Run(len(hashes), hashes[order], rows[order])
