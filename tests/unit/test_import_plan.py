"""The plan covers the file exactly, agrees with what the chunks will find, and goes on where it stopped."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.imports.chunks import Chunk, Recorded, pack_rows, unpack_rows
from app.imports.cleaning import Cleaner
from app.imports.plan import NOTHING_RECORDED, Planner
from app.imports.reading import clean_chunk
from app.imports.rows import Read
from app.imports.targets import TARGETS
from app.tabular import records
from app.tabular.batch import Batch
from app.tabular.layout import Layout
from app.tabular.records import RecordReader, read_range

COLUMNS = ("email", "name", "note")
LAYOUT = Layout(header_rows=(1,), first_row=2, columns=COLUMNS)
CLEANER = Cleaner(TARGETS["contacts"], COLUMNS, ["email", "", ""])
HEADER = b"email,name,note\r\n"
LINES = [
    b"a@example.com,Ada,1",
    b"A@EXAMPLE.com ,Ada,2",
    b"b@example.com,Bob,",
    b'c@example.com,"C, and\r\nmore","x""y"',
    "jürgen@example.com,J,ü".encode(),
    b"d@b\xc3\xbccher.example.com,D,",
    b"d@xn--bcher-kva.example.com,D,",
    b"nobody,N,",
    b"nobody,N,",
    b",only,a name",
    b"a@example.com,too few",
    b"a@example.com,too,many,cells",
    b"",
    b",,",
    b"caf\xe9@example.com,x,y",
    b"e@example.com,caf\xe9,y",
    b"f@example.com,\x00,y",
]
FILES = st.lists(st.sampled_from(LINES), max_size=40).map(
    lambda lines: HEADER + b"".join(line + b"\r\n" for line in lines)
)


class AsItIs:
    def read(self, batch: Batch) -> Read:
        return Read(batch)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", 60)
        yield


def batches(data: bytes) -> Iterator[Batch]:
    start = len(HEADER)
    yield from RecordReader(BytesIO(data[start:]), LAYOUT, first_row=2, start=start)


def steps(
    data: bytes,
    *,
    chunk_bytes: int = 100,
    behind: Recorded = NOTHING_RECORDED,
    max_rows: int = 1000,
) -> list[list[Chunk]]:
    planner = Planner(AsItIs(), CLEANER, chunk_bytes=chunk_bytes, max_rows=max_rows, behind=behind)
    return list(planner.steps(batches(data)))


def plan(data: bytes, *, chunk_bytes: int = 100, max_rows: int = 1000) -> list[Chunk]:
    found = steps(data, chunk_bytes=chunk_bytes, max_rows=max_rows)
    return [chunk for step in found for chunk in step]


def chunk_batches(data: bytes, chunk: Chunk) -> list[Batch]:
    onward, first_row = BytesIO(data[chunk.start :]), chunk.first_row
    return list(read_range(onward, LAYOUT, first_row=first_row, start=chunk.start, end=chunk.end))


@settings(max_examples=200)
@given(data=FILES, chunk_bytes=st.integers(1, 400))
def test_chunks_cover_the_file_and_read_as_the_plan_did(data: bytes, chunk_bytes: int) -> None:
    chunks = plan(data, chunk_bytes=chunk_bytes)
    whole = [record for batch in batches(data) for record in batch.records]
    position, row, found = len(HEADER), 2, []
    for number, chunk in enumerate(chunks):
        assert (chunk.index, chunk.start, chunk.first_row) == (number, position, row)
        read = [record for batch in chunk_batches(data, chunk) for record in batch.records]
        assert len(read) == chunk.rows
        assert sum(map(bool, read)) == chunk.filled
        position, row = chunk.end, row + chunk.rows
        found += read
    assert found == whole
    assert position == len(data) or not chunks


@settings(max_examples=200)
@given(data=FILES, chunk_bytes=st.integers(1, 400))
def test_of_rows_with_one_address_the_first_good_one_is_used(data: bytes, chunk_bytes: int) -> None:
    """However the file is cut, the same rows come through, and each other one names the one used."""
    used: dict[str, int] = {}
    lost: dict[int, int] = {}
    for chunk in plan(data, chunk_bytes=chunk_bytes):
        done = clean_chunk(AsItIs(), CLEANER, chunk_batches(data, chunk), chunk.superseded)
        for row, key in zip(done.cleaned.rows, done.cleaned.keys, strict=True):
            assert key not in used
            used[key] = row
        lost |= {fact.row_number: fact.winner for fact in done.facts if fact.winner}
    whole = [(batch.first_row, key) for batch in batches(data) for key in [CLEANER.keys(batch)]]
    keys = {row: key for first, found in whole for row, key in enumerate(found, first) if key}
    for row, winner in lost.items():
        assert winner < row
        assert keys[row] == keys[winner]
        assert winner not in lost
    assert set(lost) == {row for row in keys if any(keys[e] == keys[row] for e in keys if e < row)}


@settings(max_examples=200)
@given(data=FILES, chunk_bytes=st.integers(1, 200), at=st.integers(0, 20))
def test_a_plan_that_begins_again_goes_on_as_if_nothing_had_been(
    data: bytes, chunk_bytes: int, at: int
) -> None:
    chunks = plan(data, chunk_bytes=chunk_bytes)
    kept, rest = chunks[:at], chunks[at:]
    if not kept:
        return
    last = kept[-1]
    behind = Recorded(len(kept), last.end, last.first_row + last.rows)
    again = [c for step in steps(data, chunk_bytes=chunk_bytes, behind=behind) for c in step]
    assert again == rest


def test_chunks_of_another_size_do_when_the_setting_changed_in_between() -> None:
    data = HEADER + b"".join(b"u%d@example.com,U,x\r\n" % number for number in range(40))
    first = plan(data, chunk_bytes=130)[0]
    behind = Recorded(1, first.end, first.first_row + first.rows)
    rest = [c for step in steps(data, chunk_bytes=400, behind=behind) for c in step]
    assert (rest[0].start, rest[0].first_row) == (first.end, first.first_row + first.rows)
    assert sum(chunk.rows for chunk in rest) + first.rows == 40


def test_the_first_chunk_is_handed_over_before_the_file_is_read() -> None:
    data = HEADER + b"".join(b"u%d@example.com,U,x\r\n" % number for number in range(400))
    taken = 0

    def counted() -> Iterator[Batch]:
        nonlocal taken
        for batch in batches(data):
            taken += 1
            yield batch

    planner = Planner(AsItIs(), CLEANER, chunk_bytes=100, max_rows=1000)
    assert len(next(planner.steps(counted()))) == 1
    assert taken <= 3


def test_steps_grow() -> None:
    data = HEADER + b"".join(b"u%d@example.com,U,x\r\n" % number for number in range(400))
    sizes = list(map(len, steps(data, chunk_bytes=1)))
    assert sizes[:5] == [1, 2, 4, 8, 16]


def test_a_file_over_the_limit_is_refused_once_it_is_seen() -> None:
    data = HEADER + b"".join(b"u%d@example.com,U,x\r\n" % number for number in range(40))
    assert sum(chunk.rows for chunk in plan(data, max_rows=40)) == 40
    with pytest.raises(Unprocessable) as error:
        plan(data, max_rows=39)
    assert error.value.code == "too_many_rows"


@given(pairs=st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), max_size=20))
def test_superseded_rows_survive_packing(pairs: dict[int, int]) -> None:
    assert unpack_rows(pack_rows(pairs)) == pairs
