"""Every dialect that people write: the same cells come out."""

import csv

import pytest

from tests.support.tables import HEADER, ROWS, Read, joined, read, written

ONE_LINE = [[cell.replace("\n", " ") for cell in row] for row in ROWS]


def same(found: Read, rows: list[list[str]] = ROWS) -> None:
    assert found.columns == HEADER
    assert found.rows == rows
    assert found.problems == {}


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("delimiter", [*",;\t|:^~ ", "\x01", "\x1f"])
def test_delimiters_and_quotes(delimiter: str, quote: str, quoting: int) -> None:
    found = read(written(ROWS, delimiter=delimiter, quotechar=quote, quoting=quoting))
    same(found)
    assert (found.layout.delimiter, found.repaired) == (delimiter, 0)


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(
    "delimiter", ["||", "::", ", ", "; ", "\t\t", "\\t", " | ", ";;", "~|~", "|~|", "<>", "#|#"]
)
def test_delimiters_of_several_characters(delimiter: str, quoted: bool) -> None:
    same(read(joined(delimiter, [HEADER, *ROWS], quoted=quoted)))


@pytest.mark.parametrize("escape", ["\\", "\0", "^", "?"])
def test_escapes_in_place_of_doubled_quotes(escape: str) -> None:
    found = read(written(ROWS, escapechar=escape, doublequote=False))
    same(found)
    assert found.layout.escape == {"\0": "NUL"}.get(escape, escape)


def test_no_quotes_at_all_but_escapes() -> None:
    text = written(ONE_LINE, escapechar="\\", quoting=csv.QUOTE_NONE, quotechar=None)
    same(read(text), ONE_LINE)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    rows = [[cell.replace("\n", end) for cell in row] for row in ROWS]
    same(read(written(rows, end=end)), rows)


def test_mixed_line_ends() -> None:
    lines = written(ONE_LINE).split("\r\n")[:-1]
    text = "".join(line + ("\n", "\r\n", "\r")[at % 3] for at, line in enumerate(lines))
    same(read(text), ONE_LINE)


@pytest.mark.parametrize("end", ["", "\r\n\r\n", "\r\n\x1a", "\r\n\r\n\x1a"])
def test_the_end_of_the_file(end: str) -> None:
    same(read(written(ROWS).removesuffix("\r\n") + end))


def test_only_line_feeds_and_carriage_returns_end_lines() -> None:
    found = read("name,text\nAnn,a\u2028b\nBob,c\x85d\nCy,e\x0bf\x0cg\n")
    assert found.rows == [["Ann", "a\u2028b"], ["Bob", "c\x85d"], ["Cy", "e\x0bf\x0cg"]]


def test_runs_of_spaces() -> None:
    found = read("name     qty   price\nfoo      1     2.5\nbarbaz   22    3.5\nx        3     4\n")
    assert found.columns == ["name", "qty", "price"]
    assert found.rows == [["foo", "1", "2.5"], ["barbaz", "22", "3.5"], ["x", "3", "4"]]


def test_cells_keep_their_text() -> None:
    found = read("a,b\n 1 ,x \n2, y\n3,z\n4,w\n5,v\n")
    assert found.rows[:2] == [[" 1 ", "x "], ["2", " y"]]


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\r\n', "SEP=;\n"])
def test_excels_separator_line(line: str) -> None:
    same(read(line + written(ROWS, delimiter=";")))


@pytest.mark.parametrize(
    "values",
    [["alpha", "beta"], ["12:30", "13:40", "14:50"], ["a@x.com", "b@x.com"], ["1,5", "2,7"]],
)
def test_a_single_column(values: list[str]) -> None:
    found = read("name\n" + "\n".join(values) + "\n")
    assert (found.columns, found.rows) == (["name"], [[value] for value in values])


def test_a_single_column_of_text_with_commas() -> None:
    values = ["hello, you", "bye", "well, well, well", "fine"]
    assert read("remark\n" + "\n".join(values)).rows == [[value] for value in values]


def test_hints_are_obeyed() -> None:
    found = read("a;b,c\n1;2,3\n", delimiter=";")
    assert (found.columns, found.rows) == (["a", "b,c"], [["1", "2,3"]])
    assert read("a,'b,c'\n1,'2,3'\n", delimiter=",", quote="'").rows == [["1", "2,3"]]
    assert read('a,"b\n1,"2\n', quote="").columns == ["a", '"b']


def test_two_likely_delimiters_are_a_doubt() -> None:
    assert "delimiter_unsure" in read("a,b;c\nd,e;f\ng,h;i\n").doubts
    assert "delimiter_unsure" not in read(written(ROWS)).doubts
