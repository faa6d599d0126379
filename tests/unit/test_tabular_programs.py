"""Files in the manners of programs: read again by parts, and what is said about them."""

import io
from collections.abc import Mapping, Sequence
from time import process_time

import pytest
import xlsxwriter

from app.errors import TooLarge
from tests.corpus import ours
from tests.corpus.case import Case
from tests.corpus.judge import judge
from tests.corpus.programs import cases
from tests.fuzz.promises import SMALL, blocks_of, check
from tests.support.tables import read

Place = tuple[int, int]
NOTHING: Mapping[Place, str] = {}
FILES = list(cases())
CONTACTS = [["email", "name"], *([f"a{n}@example.com", f"Ann {n}"] for n in range(5))]


def test_all_of_them_are_read_as_they_were_meant() -> None:
    verdicts = {case.name: judge(case, ours.read(case.data, case.filename)) for case in FILES}
    assert {name: one.note for name, one in verdicts.items() if not one.right} == {}


@pytest.mark.parametrize("case", FILES[::3], ids=[case.name for case in FILES[::3]])
def test_by_parts_they_are_the_same(case: Case) -> None:
    with blocks_of(SMALL):
        check(case.data)


def book(*sheets: Sequence[Sequence[str | float]], far: Mapping[Place, str] = NOTHING) -> bytes:
    """A workbook; `far` are cells of the last sheet beside its rows, by row and column."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        for rows in sheets:
            sheet = made.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
        for place, cell in far.items():
            sheet.write(*place, cell)
    return out.getvalue()


def test_a_sheet_of_prose_is_not_taken_for_the_table() -> None:
    found = read(book([["Please fill in the next sheet."], ["Thanks"]], CONTACTS))
    assert (found.columns, found.rows) == (CONTACTS[0], CONTACTS[1:])
    assert found.doubts == {"several_sheets"}
    assert read(book([["Please"]], [["one"], ["two"]])).layout.sheet == "Sheet1"


def test_lines_of_csv_in_a_sheets_only_column_are_rows() -> None:
    found = read(book([[";".join(row)] for row in CONTACTS]))
    assert (found.columns, found.rows) == (CONTACTS[0], CONTACTS[1:])
    prose = read(book([["note"], ["well, then"], ["no"], ["so; it, is"]]))
    assert prose.columns == ["note"]


def test_one_cell_far_out_is_a_fault_of_its_row_alone() -> None:
    found = read(book(CONTACTS, far={(3, 16_383): "x"}))
    assert found.columns == CONTACTS[0]
    assert [len(row) for row in found.rows] == [2, 2, 16_384, 2, 2]


def test_cells_in_the_corners_of_a_sheet_are_refused_before_they_fill_the_memory() -> None:
    corners = book([["email"]], far={(1_048_575, 16_383): "x"})
    with pytest.raises(TooLarge, match=r"row 1,048,576.*XFD") as caught:
        read(corners)
    assert caught.value.code == "workbook_too_large"


def test_a_blank_in_the_last_row_of_a_sheet_is_nothing() -> None:
    assert read(book(CONTACTS, far={(1_048_575, 0): " "})).rows == CONTACTS[1:]


def test_a_number_has_the_digits_that_a_sheet_shows() -> None:
    made = book([["sum", "small", "large"], [0.1 + 0.2, 1e-7, 1e17]])
    assert read(made).rows == [["0.3", "0.0000001", "100000000000000000"]]


@pytest.mark.parametrize(
    ("data", "doubt"),
    [
        ("Name        Amount\nAnn Lee       1.50\nBob van Dam   2.50\nCy            3.50\n", "aligned_by_spaces"),
        ("a,b\n1,x,\u20ac\n5,y,z\n3,z,w\n", "header_short"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_said(data: str, doubt: str) -> None:
    assert doubt in read(data).doubts


def test_what_some_databases_write_for_an_emoji_is_marked_and_not_garbled() -> None:
    found = read(b"id,name\n1,Ann\n2,\xed\xa0\xbd\xed\xb8\x80\n3,Bob\n")
    assert found.layout.encoding == "utf-8"
    assert [problem.code for problem in found.problems.values()] == ["not_in_encoding"]


LONG = 900_000
HOSTILE = {
    "tail": b";" * LONG + b"x\n1;2\n3;4\n5;6\n",
    "rule": b"a,b\n" + b"-" * LONG + b"x\n1,2\n3,4\n",
    "comments of SQL": b"-- " * 1300 + b"x,y\n1,2\n3,4\n",
    "remarks of SQL": b"/* */ " * 680 + b"x,y\n1,2\n3,4\n",
    "nested JSON": b"[1," + b"[" * 4000 + b"\n1,2\n",
    "marks": b"a,b\n" + b"\xef\xbb\xbf" * (LONG // 3) + b"\n1,2\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_looked_for_costs_no_more_than_its_length(data: bytes) -> None:
    before = process_time()
    assert read(data).columns
    assert process_time() - before < 20
