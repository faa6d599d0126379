"""What holds for any table: the same cells, the same cuts, and no row that suffers for another."""

import csv
import io
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.tabular import lenient, packed, parsing, records
from app.tabular.batch import Batch, Problem
from app.tabular.detect import open_table, reopen
from app.tabular.grammar import Grammar, without_marks
from app.tabular.layout import Layout
from app.tabular.normalize import normalize
from app.tabular.records import read_range
from tests.support.tables import HEADER, ROWS, Rows, read, written

# A carriage return needs quotes that csv.writer doesn't give it; a row of cells that all begin with a
# space or stand in other quotes is taken for a row of another dialect; marks that begin a line are left out.
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\x1a"), max_size=8).filter(
    lambda text: text[:1] not in (" ", "'", '"') and without_marks(text) == text
)
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=12)
)
MESSY = st.text(st.sampled_from("ab1,;\"'\n\r\t \\\0é"), max_size=400)


def layout_of(width: int, **fields: object) -> Layout:
    return Layout(columns=tuple(f"c{number}" for number in range(width)), **fields)


def everything(batches: list[Batch]) -> Rows:
    return [record for batch in batches for record in batch.records]


def whole(data: bytes, layout: Layout, *, first_row: int = 1) -> list[Batch]:
    end = len(data)
    return list(read_range(io.BytesIO(data), layout, first_row=first_row, start=0, end=end))


def problems_of(batches: list[Batch]) -> dict[int, Problem]:
    return {batch.first_row + at: each for batch in batches for at, each in batch.problems.items()}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 200)
    monkeypatch.setattr(records, "_LONGEST_RECORD", 500)
    monkeypatch.setattr(lenient, "WINDOW_CHARS", 60)
    monkeypatch.setattr(parsing, "WINDOW_CHARS", 60)


@example(rows=[["\x85"]], delimiter=",", quote='"', end="\n", quoting=csv.QUOTE_MINIMAL)
@example(rows=[["\t"] * 3], delimiter=",", quote='"', end="\n", quoting=csv.QUOTE_ALL)
@given(
    rows=TABLES,
    delimiter=st.sampled_from(",;\t|:^~"),
    quote=st.sampled_from("\"'"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_any_table_comes_back(
    rows: Rows, delimiter: str, quote: str, end: str, quoting: int
) -> None:
    text = written(rows, None, end, delimiter=delimiter, quotechar=quote, quoting=quoting)
    layout = layout_of(len(rows[0]), delimiter=delimiter, quote=quote)
    batches = whole(text.encode(), layout)
    assert everything(batches) == [row if any(map(str.strip, row)) else [] for row in rows]
    assert problems_of(batches) == {}


JUNK = st.sampled_from(['"', '""', "'", ",", ';"', '",', "\\", "\0", "\r", "\n", "x\n\n", "\u00e9"])
DAMAGE = st.lists(st.tuples(st.integers(0, 15), st.floats(0, 1), JUNK), max_size=5)


@pytest.mark.usefixtures("small_blocks")
def test_reading_on_from_any_cut_gives_the_same() -> None:
    """With sound rows between the damaged ones: a cut never falls between a row and what explains it."""

    @given(damage=DAMAGE, data=st.data())
    def check(damage: list[tuple[int, float, str]], data: st.DataObject) -> None:
        lines = [f"{number},name {number},{number}\n" for number in range(80)]
        lines[7::9] = ['7,"two\nlines",8\n'] * len(lines[7::9])
        for place, at, junk in damage:
            line = lines[place * 5].removesuffix("\n")
            cut = round(at * len(line))
            lines[place * 5] = f"{line[:cut]}{junk}{line[cut:]}\n"
        source = "".join(lines).encode()
        layout = layout_of(3)
        batches = whole(source, layout, first_row=7)
        first = data.draw(st.integers(0, len(batches) - 1))
        last = data.draw(st.integers(first, len(batches) - 1))
        wanted = batches[first : last + 1]
        begin, end = wanted[0].start, wanted[-1].end
        onward, first_row = io.BytesIO(source[begin:]), wanted[0].first_row
        again = list(read_range(onward, layout, first_row=first_row, start=begin, end=end))
        assert everything(again) == everything(wanted)
        assert problems_of(again) == problems_of(wanted)
        assert (again[0].start, again[-1].end) == (begin, end)

    check()


@given(place=st.integers(0, 8), at=st.floats(0, 1), junk=st.sampled_from(['"', '""', "'", ",", ';"', '",', "\\", "\0", "x"]))  # fmt: skip
@example(place=3, at=1.0, junk='"')
def test_damage_in_one_row_leaves_the_others_as_they_are(place: int, at: float, junk: str) -> None:
    lines = [written([row], None) for row in ROWS]
    line = lines[place].removesuffix("\r\n")
    cut = round(at * len(line))
    lines[place] = f"{line[:cut]}{junk}{line[cut:]}\r\n"
    found = read(written([]) + "".join(lines))
    assert found.columns == HEADER
    assert found.rows[:place] == ROWS[:place]
    assert found.rows[place + 1 :][-len(ROWS) + place + 1 :] == ROWS[place + 1 :]


@given(data=st.one_of(st.binary(max_size=300), MESSY.map(str.encode)))
@settings(max_examples=300)
def test_any_bytes_are_a_table_or_get_a_verdict(data: bytes) -> None:
    try:
        table = open_table(io.BytesIO(data))
    except InvalidRequest:
        return
    batches = list(table.batches())
    again = reopen(io.BytesIO(data), Layout.model_validate_json(table.layout.model_dump_json()))
    assert everything(list(again.batches())) == everything(batches)
    out = io.BytesIO()
    normalize(table, out)
    back = list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""), strict=True))
    assert len(back[0]) == len(table.layout.columns)


@given(
    batches=st.lists(
        st.builds(
            Batch,
            first_row=st.integers(1),
            records=st.lists(st.lists(st.text(), max_size=3), max_size=4),
            problems=st.dictionaries(st.integers(0, 3), st.builds(Problem, st.text(), st.text())),
            end=st.integers(0),
            repaired=st.integers(0, 9),
            start=st.integers(0),
        ),
        max_size=3,
    )
)
def test_packed_batches_come_back(batches: list[Batch]) -> None:
    batches.append(Batch(1, [["D\udcfcren", "\ud800"]]))
    assert list(packed.load(packed.dump(batches))) == batches


def test_what_was_normalized_reads_as_itself() -> None:
    found = read(written(ROWS, delimiter=";", end="\n"))
    out = io.BytesIO()
    summary = normalize(open_table(io.BytesIO(written(ROWS, delimiter=";").encode())), out)
    assert out.getvalue().decode() == written(ROWS, end="\n")
    assert (summary.rows, read(out.getvalue()).rows) == (len(ROWS), found.rows)


def test_a_footer_is_left_out_of_large_files_too() -> None:
    lines = b"".join(b"u%d@example.com,Ann,%d\r\n" % (number, number) for number in range(60_000))
    data = b"email,name,n\r\n" + lines + b"\r\nTotal,,99\r\nSource: us\r\n"
    table = open_table(io.BytesIO(data))
    batches = list(table.batches())
    assert len(everything(batches)) == 60_000
    assert table.footer_rows == 3
    assert batches[0].start == 14
    assert batches[-1].end == 14 + len(lines)
    assert all(left.end == right.start for left, right in pairwise(batches))


def test_blocks_full_of_lines_that_never_close_are_read_to_the_end() -> None:
    data = b'x",""",y\n' * 20_000
    assert len(everything(whole(data, layout_of(3)))) == 20_000


@pytest.mark.usefixtures("small_blocks")
def test_nuls_inside_line_ends_shift_no_offset() -> None:
    lines = [
        f'{number},"two\nlines",3\r\0\n' if number % 3 else f"{number},x,3\r\0\n"
        for number in range(90)
    ]
    found = everything(whole("".join(lines).encode(), layout_of(3)))
    assert [row[0] for row in found if row] == [str(number) for number in range(90)]


@pytest.mark.parametrize("damaged", ['4,"x,6\n', "4;5;6\n"])
def test_a_block_does_not_end_with_a_damaged_record(damaged: str) -> None:
    text = "1,2,3\n" + damaged
    assert parsing.parse(text, Grammar(), 3, final=False).lines == 1
    assert parsing.parse(text, Grammar(), 3, final=True).lines == 2
