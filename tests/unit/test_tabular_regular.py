"""The short way for blocks in which nothing is odd reads what the csv module reads, or says that it can't."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.tabular.grammar import NUL, Grammar
from app.tabular.layout import Layout
from app.tabular.regular import Regular, column_of, columns_of, filled, joined, only, read_regular
from app.tabular.touch_up import TouchUp

GRAMMARS = {
    "comma": Grammar(),
    "semicolon": Grammar(";"),
    "tab": Grammar("\t", None),
    "other quote": Grammar(",", "'"),
    "escape": Grammar(",", '"', "\\"),
    "spaces": Grammar(" ", '"', None, skip_space=True),
    "two characters": Grammar("::"),
    "skips spaces": Grammar(",", '"', None, skip_space=True),
}
MESSY = st.text(st.sampled_from("ab,;:\"'\n\r\t \\\0\x85\u2028é"), max_size=60)
CELL = st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n\0'), max_size=5)


def by_csv(text: str, grammar: Grammar) -> list[list[str]] | None:
    """What the csv module makes of it, unless it spans lines or fails."""
    reader = grammar.reader(io.StringIO(text, newline=""), grammar.delimiter)
    try:
        records = list(reader)
    except csv.Error:
        return None
    return records if len(records) == reader.line_num else None


@given(text=MESSY, grammar=st.sampled_from(list(GRAMMARS.values())), width=st.integers(0, 4))
@example(text="a,b\nc\n,d,e\n", grammar=Grammar(), width=2)
@example(text="a,b\n\nc,d\n", grammar=Grammar(), width=2)
@example(text="a\nb,c\nd,e\n,f\n", grammar=Grammar(), width=2)
def test_what_is_read_is_what_the_csv_module_reads(text: str, grammar: Grammar, width: int) -> None:
    found = read_regular(text, grammar, width)
    if found is not None:
        assert list(found) == by_csv(text, grammar)
        assert set(map(len, found)) == {width}
        assert len(found) == len(list(found)) == filled(found) > 0


@given(
    rows=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.tuples(*[CELL] * width), min_size=1, max_size=8)
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
)
def test_plain_rows_are_read_without_the_csv_module(
    rows: list[tuple[str, ...]], end: str, *, ended: bool
) -> None:
    text = end.join(map(",".join, rows)) + (end if ended else "")
    found = read_regular(text, Grammar(), len(rows[0]))
    assert found is not None
    assert list(found) == list(map(list, rows))


@pytest.mark.parametrize(
    ("text", "grammar", "width"),
    [
        ('a,"b"\n', Grammar(), 2),
        ("a,b\rc,d\n", Grammar(), 2),
        ("a,b\\,\n", GRAMMARS["escape"], 3),
        ("a,b\0\n", Grammar(), 2),
        ("a, b\n", GRAMMARS["skips spaces"], 2),
        ("a::b\n", GRAMMARS["two characters"], 2),
        ("a,b,c\n", Grammar(), 2),
        ("a\n", Grammar(), 1),
        ("", Grammar(), 2),
        ("a,b\n", Grammar(escape=NUL), 0),
    ],
)
def test_whatever_needs_a_closer_look_is_left(text: str, grammar: Grammar, width: int) -> None:
    assert read_regular(text, grammar, width) is None


@given(
    rows=st.lists(
        st.lists(
            st.sampled_from(["", " ", "\N{NO-BREAK SPACE}", "x", " y", "'z'", "h0", "h1", "h2"]),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=6,
    )
)
@example(rows=[["h0", "h1", "h2"], ["", "", ""], ["x", "y", "z"]])
@example(rows=[["'z'", "'z'", "'z'"]])
@example(rows=[["x", " y", " y"]])
@example(rows=[[" ", "", ""]])
def test_columns_are_touched_up_as_rows_are(rows: list[list[str]]) -> None:
    touch_up = TouchUp(Layout(columns=("h0", "h1", "h2"), header_rows=(1,)))
    text = "".join(",".join(row) + "\n" for row in rows)
    columns = Regular(list(zip(*rows, strict=True)))
    records, repaired = touch_up(columns, text)
    assert (list(records), repaired) == touch_up([list(row) for row in rows], text)


def test_columns_answer_as_rows_do() -> None:
    rows = [["a", "b"], ["c", "d"], ["e", "f"]]
    regular = Regular([["a", "c", "e"], ["b", "d", "f"]])
    assert regular == rows
    assert regular[1] == ["c", "d"]
    assert regular[-2:] == rows[-2:]
    assert column_of(regular, 1) == column_of(rows, 1) == ["b", "d", "f"]
    assert list(map(list, columns_of(regular))) == list(map(list, columns_of(rows)))
    assert (
        only(regular, [True, False, True]) == only(rows, [True, False, True]) == [rows[0], rows[2]]
    )
    assert joined([regular, regular[:1]]) == joined([rows, regular[:1]]) == [*rows, rows[0]]
    assert isinstance(joined([regular, regular[:1]]), Regular)
    assert joined([]) == []
