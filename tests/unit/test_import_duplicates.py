"""Of equal keys the first row is used, however they are spread over batches, memory and files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imports.duplicates import FirstRowWins, Rows, hash_keys

KEYS = st.sampled_from(["", *(f"key{number}" for number in range(12))])
BATCHES = st.lists(st.lists(KEYS, max_size=9), max_size=40)


def numbered(first: int, count: int) -> Rows:
    return np.arange(first, first + count, dtype=np.uint32)


def found(
    batches: list[list[str]], *, memory_keys: int, labels_from: int = 0
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    row = 1
    with FirstRowWins(memory_keys=memory_keys) as known:
        for keys in batches:
            numbers = numbered(row, len(keys))
            pairs += known.add(hash_keys(keys), numbers, numbers + np.uint32(labels_from))
            row += len(keys)
    return pairs


def expected(batches: list[list[str]], *, labels_from: int = 0) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    pairs = []
    for row, key in enumerate((key for keys in batches for key in keys), 1):
        if key and first.setdefault(key, row) != row:
            pairs.append((row, first[key] + labels_from))
    return pairs


@pytest.mark.parametrize("memory_keys", [0, 5, 1000])
@given(batches=BATCHES)
def test_the_first_row_with_a_key_is_used(batches: list[list[str]], memory_keys: int) -> None:
    """0 and 5: keys go to files at once, or now and then."""
    assert found(batches, memory_keys=memory_keys) == expected(batches)


@given(batches=BATCHES)
def test_winners_go_by_their_labels(batches: list[list[str]]) -> None:
    assert found(batches, memory_keys=5, labels_from=1000) == expected(batches, labels_from=1000)


def test_a_hundred_thousand_keys_in_files_and_a_bitmap_that_grows() -> None:
    batches = [[f"k{number}" for number in range(at, at + 9000)] for at in range(0, 180_000, 6000)]
    assert found(batches, memory_keys=20_000) == expected(batches)
