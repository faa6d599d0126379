"""Reading CSV: the same rows under the same offsets, however the bytes arrive."""

import csv
import io
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.imports.records import (
    BOM,
    MAX_LINE_BYTES,
    LineTooLong,
    Record,
    RecordReader,
    is_blank,
)

# What csv.writer writes and csv.reader reads back: a lone carriage return ends a line for the reader.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
ROWS = st.lists(st.lists(TEXT, min_size=1, max_size=5), max_size=12)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])
CUTS = st.lists(st.integers(0, 400), max_size=10)


def written(rows: list[list[str]], line_end: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=line_end).writerows(rows)
    return out.getvalue().encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def cells(found: Iterable[Record]) -> list[list[str]]:
    rows = list(found)
    assert [error for _, error in rows] == [None] * len(rows)
    return [row for row, _ in rows]


@given(rows=ROWS, line_end=LINE_ENDS, cuts=CUTS, bom=st.booleans(), last_end=st.booleans())
@example(
    rows=[["a,b", 'c"d', "e\nf"], [""], ["é"]],
    line_end="\r\n",
    cuts=[3, 9],
    bom=True,
    last_end=False,
)
def test_any_rows_come_back_from_any_blocks(
    rows: list[list[str]], line_end: str, cuts: list[int], bom: bool, last_end: bool
) -> None:
    data = written(rows, line_end)
    if not last_end:
        data = data.removesuffix(line_end.encode())
    assert cells(RecordReader(cut(BOM * bom + data, cuts))) == rows


@given(rows=ROWS, line_end=LINE_ENDS, cuts=CUTS, bom=st.booleans())
def test_each_record_can_be_read_again_from_its_own_bytes(
    rows: list[list[str]], line_end: str, cuts: list[int], bom: bool
) -> None:
    data = BOM * bom + written(rows, line_end)
    reader = RecordReader(cut(data, cuts))
    start = 0
    for (_, error), row in zip(reader, rows, strict=True):
        assert error is None
        end = reader.offset()
        assert cells(RecordReader([data[start:end]], start=start)) == [row]
        start = end
    assert start == (len(data) if rows else 0)


@given(data=st.binary(max_size=300), cuts=CUTS, start=st.sampled_from([0, 10]))
@example(data=b'a\n"b"c\n"\n', cuts=[], start=0)
@example(data=b"\xef\xbb\xbf\xef\xbb\xbfa\n", cuts=[1, 4], start=10)
def test_any_bytes_are_read_to_the_end_and_alike_in_any_blocks(
    data: bytes, cuts: list[int], start: int
) -> None:
    def read(blocks: list[bytes]) -> list[tuple[Record, int]]:
        reader = RecordReader(blocks, start=start)
        return [(record, reader.offset()) for record in reader]

    whole = read([data])
    assert read(cut(data, cuts)) == whole
    ends = [end for _, end in whole]
    assert ends == sorted(ends)
    assert not ends or ends[-1] == start + len(data)


@given(rows=ROWS, cuts=CUTS)
def test_the_end_of_a_block_is_a_place_where_a_record_ends(
    rows: list[list[str]], cuts: list[int]
) -> None:
    data = written(rows, "\n")
    reader = RecordReader(cut(data, cuts))
    ends = [reader.offset() for _ in reader if reader.at_block_end()]
    assert len(set(ends)) == len(ends)
    assert all(data[:end].endswith(b"\n") for end in ends)
    assert not rows or ends[-1] == len(data)


@pytest.mark.parametrize("broken", ['"a"b,c', "a,b\rc,d"])
def test_a_broken_line_is_an_error_of_its_own_and_reading_goes_on(broken: str) -> None:
    found = list(RecordReader([f"x,1\n{broken}\ny,2\n".encode()]))
    assert [row for row, _ in found] == [["x", "1"], [], ["y", "2"]]
    assert [error is not None for _, error in found] == [False, True, False]


def test_a_quote_that_never_closes_is_an_error_at_the_end() -> None:
    assert list(RecordReader([b'a,b\n"c,d\ne,f\n'])) == [
        (["a", "b"], None),
        ([], "unexpected end of data"),
    ]


def test_a_cell_over_the_csv_limit_is_an_error_and_reading_goes_on() -> None:
    found = list(RecordReader([b"x\n" + b"y" * 140_000 + b"\nz\n"]))
    assert [row for row, _ in found] == [["x"], [], ["z"]]
    assert "field limit" in str(found[1][1])


def test_bytes_that_are_not_utf8_come_through_for_the_row_to_be_rejected() -> None:
    assert cells(RecordReader([b"caf\xe9,1\n"])) == [["caf\udce9", "1"]]


def test_a_byte_order_mark_counts_at_the_start_of_the_file_alone() -> None:
    assert cells(RecordReader([BOM + b"a\n" + BOM + b"b\n"])) == [["a"], ["\ufeffb"]]
    assert cells(RecordReader([BOM + b"b\n"], start=5)) == [["\ufeffb"]]


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore\n"])
@pytest.mark.parametrize("block", [1000, 64 * 1024, MAX_LINE_BYTES])
def test_an_endless_line_is_refused_before_it_fills_the_memory(end: bytes, block: int) -> None:
    data = b"a,b\n" + b"x" * (2 * MAX_LINE_BYTES + 1) + end
    blocks = (data[start : start + block] for start in range(0, len(data), block))
    with pytest.raises(LineTooLong) as refused:
        list(RecordReader(blocks))
    assert refused.value.code == "line_too_long"


@pytest.mark.parametrize(
    ("row", "blank"), [([], True), (["", ""], True), ([" ", "\t"], True), (["", "x"], False)]
)
def test_a_row_is_blank_when_nothing_is_in_it(row: list[str], blank: bool) -> None:
    assert is_blank(row) is blank
