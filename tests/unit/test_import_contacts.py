"""From rows to contacts: what is kept, and what is rejected with which number, column and code."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imports.contacts import (
    MAX_ATTRIBUTE_CHARS,
    MAX_FIELD_CHARS,
    CleanRows,
    ContactCleaner,
    attribute_names,
)
from app.imports.header import map_columns
from app.imports.records import RecordReader

COLUMNS = ["Email", "First Name", "Last Name", "Company", "Phone", "Plan", "Plan"]


def clean(
    text: str | bytes,
    *,
    columns: list[str] = COLUMNS,
    superseded: dict[int, int] | None = None,
    first_row: int = 2,
) -> CleanRows:
    data = text.encode() if isinstance(text, str) else text
    cleaner = ContactCleaner(columns, map_columns(columns, {}))
    return cleaner.clean(RecordReader([data]), first_row=first_row, superseded=superseded or {})


def test_a_row_becomes_a_contact_trimmed_and_with_its_attributes() -> None:
    (contact,) = clean(" Ada@Example.COM , Ada ,Lovelace,, +44 1 ,free,\n").contacts
    assert contact[:5] == ("ada@example.com", "Ada", "Lovelace", None, "+44 1")
    assert json.loads(contact.attributes) == {"Plan": "free"}


def test_columns_of_one_name_are_kept_apart() -> None:
    (contact,) = clean("a@example.com,,,,,one,two\n").contacts
    assert json.loads(contact.attributes) == {"Plan": "one", "Plan (2)": "two"}


@given(
    columns=st.lists(st.sampled_from(["", "x", "x (2)", " x  (2)", "column 1", "y"]), max_size=9)
)
def test_names_of_attributes_are_unique_in_a_file(columns: list[str]) -> None:
    names = attribute_names(columns)
    assert len(names) == len(columns)
    assert len(set(names)) == len(names)
    assert all(names)


REJECTS: list[tuple[str | bytes, str | None, str]] = [
    (",Ada,,,,,", "Email", "missing_email"),
    ("  ,Ada,,,,,", "Email", "missing_email"),
    ("nobody,,,,,,", "Email", "invalid_email"),
    ("a@example.com,Ada", None, "cell_count"),
    ("a@example.com,,,,,,,", None, "cell_count"),
    ('"a"b@example.com",,,,,,', None, "invalid_csv"),
    ("a@example.com," + "x" * (MAX_FIELD_CHARS + 1) + ",,,,,", "First Name", "too_long"),
    ("a@example.com,,,,,," + "x" * (MAX_ATTRIBUTE_CHARS + 1), "Plan", "too_long"),
    ("a@example.com,,,nul\x00,,,", "Company", "nul_character"),
    ("a@example.com,,,,,,nul\x00", "Plan", "nul_character"),
    (b"a@example.com,,caf\xe9,,,,", "Last Name", "not_utf8"),
    (b"caf\xe9@example.com,,,,,,", "Email", "invalid_email"),
]


@pytest.mark.parametrize(("line", "column", "code"), REJECTS)
def test_a_bad_row_is_rejected_with_its_number_column_and_code(
    line: str | bytes, column: str | None, code: str
) -> None:
    data = line.encode() if isinstance(line, str) else line
    result = clean(b"x@example.com,,,,,,\n" + data + b"\ny@example.com,,,,,,\n", first_row=41)
    (reject,) = result.rejects
    assert (reject.row_number, reject.column, reject.code) == (42, column, code)
    assert reject.message.endswith((".", ";", "'"))
    assert [contact.email for contact in result.contacts] == ["x@example.com", "y@example.com"]
    assert result.total == 3


def test_the_longest_values_that_are_allowed_are_kept() -> None:
    field, attribute = "x" * MAX_FIELD_CHARS, "y" * MAX_ATTRIBUTE_CHARS
    (contact,) = clean(f"a@example.com,{field},,,,{attribute},\n").contacts
    assert contact.first_name == field
    assert json.loads(contact.attributes) == {"Plan": attribute}


def test_a_row_that_a_later_one_replaces_names_the_later_one() -> None:
    result = clean("a@example.com,,,,,,\nA@example.com,,,,,,\n", superseded={2: 9})
    assert [contact.email for contact in result.contacts] == ["a@example.com"]
    (reject,) = result.rejects
    assert (reject.row_number, reject.column, reject.code) == (2, "Email", "duplicate")
    assert "Row 9" in reject.message


def test_blank_rows_are_counted_in_the_numbers_and_nowhere_else() -> None:
    result = clean("\n,,,,,,\n , ,\nnobody,,,,,,\n\n")
    assert result.total == 1
    assert [reject.row_number for reject in result.rejects] == [5]


def test_rejected_cells_are_kept_as_sent_as_far_as_the_database_can() -> None:
    (reject,) = clean(b"caf\xe9 @x,a\x00b, plain ,,,\xf0\x9f\x98\x80,\n").rejects
    assert reject.cells == ["caf\ufffd @x", "a\ufffdb", " plain ", "", "", "😀", ""]


AS_READ = st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(
    cells=st.lists(st.one_of(st.text(max_size=8), AS_READ), min_size=7, max_size=7),
    good=st.booleans(),
)
def test_whatever_is_kept_the_database_can_hold(cells: list[str], good: bool) -> None:
    row = ["a@example.com", *cells[1:]] if good else cells
    cleaner = ContactCleaner(COLUMNS, map_columns(COLUMNS, {}))
    result = cleaner.clean([(row, None)], first_row=2, superseded={})
    kept = [
        *(value for contact in result.contacts for value in contact if value),
        *(text for reject in result.rejects for text in (*reject.cells, reject.message)),
    ]
    for text in kept:
        assert "\x00" not in text
        assert text.encode() is not None
    for contact in result.contacts:
        attributes = json.loads(contact.attributes)
        assert all(
            value and "\x00" not in value and value.encode() for value in attributes.values()
        )
