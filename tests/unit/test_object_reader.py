"""A stored object as a file: the same bytes as a file on disk, by few and bounded reads."""

import io
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.object_reader import ObjectReader, Onward

DATA = bytes(number * 7919 % 251 for number in range(10_000))
BLOCK = 1000


class Store:
    """Remembers what was fetched; `fail` raises once for a range that begins there."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.fetched: list[int] = []
        self.sizes: list[int] = []
        self.fail: set[int] = set()

    def fetch(self, start: int, end: int) -> bytes:
        self.fetched.append(start)
        self.sizes.append(end - start)
        if start in self.fail:
            self.fail.remove(start)
            raise OSError("broken off")
        return self.data[start:end]


def reader(store: Store) -> ObjectReader:
    return ObjectReader(store.fetch, len(store.data), first_bytes=BLOCK // 4, most_bytes=BLOCK)


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    return condition()


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.integers(-12_000, 12_000), st.integers(-1, 4000)),
        max_size=20,
    )
)
def test_it_reads_as_a_file_does(steps: list[tuple[int, int, int]]) -> None:
    ours, model = io.BufferedReader(reader(Store()), 300), io.BytesIO(DATA)
    with ours:
        for whence, offset, count in steps:
            base = {0: 0, 1: model.tell(), 2: len(DATA)}[whence]
            target = max(0, base + offset)
            assert ours.seek(target) == model.seek(target)
            assert ours.read(count) == model.read(count)
            assert ours.tell() == model.tell()


def test_seeking_counts_from_all_three_ends() -> None:
    with reader(Store()) as file:
        assert file.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert file.seek(2, io.SEEK_CUR) == len(DATA) - 3
        assert file.read() == DATA[-3:]
        with pytest.raises(ValueError, match="before the first byte"):
            file.seek(-1)


def test_the_head_alone_costs_one_fetch_of_its_size() -> None:
    store = Store()
    with io.BufferedReader(reader(store), 10) as file:
        assert file.read(600) == DATA[:600]
        file.seek(0)
        assert file.read(500) == DATA[:500]
    assert (store.fetched, store.sizes) == ([0], [600])


def test_a_look_here_and_there_costs_little() -> None:
    store = Store()
    with reader(store) as file:
        for start in (9000, 10, 5000):
            file.seek(start)
            assert file.read(3) == DATA[start : start + 3]
    assert (store.fetched, store.sizes) == ([9000, 10, 5000], [250, 250, 250])


def test_reading_on_fetches_each_byte_once_in_growing_blocks_and_one_ahead() -> None:
    store = Store()
    with reader(store) as file:
        while file.tell() < BLOCK:
            assert file.read(10)
        assert soon(lambda: store.fetched == [0, 250, 750, 1750])
    with io.BufferedReader(reader(again := Store()), 10) as whole:
        read = b"".join(iter(lambda: whole.read(7), b""))
        assert read == DATA
    assert again.fetched == [0, 250, *range(750, len(DATA), BLOCK)]
    assert sum(again.sizes) == len(DATA)
    assert max(again.sizes) == BLOCK


def test_what_is_known_of_the_beginning_is_not_fetched() -> None:
    store = Store()
    known = ObjectReader(
        store.fetch, len(DATA), first_bytes=BLOCK // 4, most_bytes=BLOCK, head=DATA[:700]
    )
    with io.BufferedReader(known, 10) as file:
        assert file.read(700) == DATA[:700]
        assert store.fetched == []
        assert file.read() == DATA[700:]
    assert store.fetched[0] == 700
    assert sum(store.sizes) == len(DATA) - 700


def test_a_fetch_that_fails_is_the_readers_error_and_may_be_tried_again() -> None:
    store = Store()
    store.fail = {1750}
    with reader(store) as file:
        while file.tell() < 1750:
            file.read(100)
        with pytest.raises(OSError, match="broken off"):
            file.read(BLOCK)
        assert file.read(100) == DATA[1750:1850]


def test_fewer_bytes_than_asked_for_are_an_error_and_no_end() -> None:
    store = Store()
    file = ObjectReader(store.fetch, len(DATA) + 1, first_bytes=2 * len(DATA))
    with file, pytest.raises(OSError, match="expected 10001 bytes at 0, got 10000"):
        file.read(1)


def test_an_empty_object_asks_for_nothing() -> None:
    store = Store(b"")
    with reader(store) as file:
        assert file.read(5) == b""
    assert store.fetched == []


def test_once_closed_it_reads_no_more() -> None:
    file = reader(Store())
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


@given(start=st.integers(0, 10_000), ahead=st.integers(1, 12_000), size=st.integers(1, 4000))
def test_a_part_and_what_follows_it(start: int, ahead: int, size: int) -> None:
    store = Store()
    onward = Onward(store.fetch, start, start + ahead, len(DATA))
    read = b""
    while piece := onward.read(size):
        assert len(piece) <= size
        read += piece
    assert read == DATA[start:]


def test_what_follows_a_part_is_not_fetched_before_it_is_asked_for() -> None:
    store = Store()
    onward = Onward(store.fetch, 1000, 3000, len(DATA))
    assert b"".join(onward.read(700) for _ in range(3)) == DATA[1000:3000]
    assert (store.fetched, store.sizes) == ([1000], [2000])
    assert onward.read(700) == DATA[3000:3700]
    assert (store.fetched, store.sizes) == ([1000, 3000], [2000, 7000])
