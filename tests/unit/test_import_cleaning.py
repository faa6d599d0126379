"""From rows to values: what is kept, and what is rejected with which number, column and code."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.attributes import MAX_CHARS, attribute_names
from app.imports.cleaning import Cleaned, Cleaner, ValueOptions
from app.imports.mapping import propose
from app.imports.targets import TARGETS
from app.tabular.batch import Batch, Problem

COLUMNS = ["Email", "First Name", "Last Name", "Company", "Phone", "Plan", "Plan"]
MAX_FIELD_CHARS = 1000


def cleaner(
    columns: list[str] = COLUMNS, target: str = "contacts", short_rows: str = "reject"
) -> Cleaner:
    found = TARGETS[target]
    fields = propose(found, columns).fields
    options = ValueOptions.model_validate({"short_rows": short_rows})
    return Cleaner(found, columns, fields, options)


def row(*cells: str) -> list[str]:
    return [*cells, *[""] * (len(COLUMNS) - len(cells))]


def clean(
    *rows: list[str],
    problems: dict[int, Problem] | None = None,
    duplicates: dict[int, int] | None = None,
    short_rows: str = "reject",
) -> Cleaned:
    batch = Batch(2, list(rows), problems or {})
    return cleaner(short_rows=short_rows).clean(batch, duplicates or {})


def only(cleaned: Cleaned) -> dict[str, str]:
    assert len(cleaned.rows) == 1
    return dict(zip(cleaned.names, (column[0] for column in cleaned.columns), strict=True))


def test_a_row_becomes_values_trimmed_and_with_its_attributes() -> None:
    values = only(
        clean([" Ada@Example.COM ", " Ada", "Love\xa0lace\u2003", "", " 44 1 ", "free", ""])
    )
    attributes = json.loads(values.pop("attributes"))
    assert values == {
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Love lace",
        "company": "",
        "phone": "44 1",
    }
    assert attributes == {"Plan": "free"}


def test_columns_of_one_name_are_kept_apart() -> None:
    values = only(clean(row("a@example.com", "", "", "", "", "one", "two")))
    assert json.loads(values["attributes"]) == {"Plan": "one", "Plan (2)": "two"}


@given(
    columns=st.lists(st.sampled_from(["", "x", "x (2)", " x  (2)", "column 1", "y"]), max_size=9)
)
def test_names_of_attributes_are_unique_in_a_file(columns: list[str]) -> None:
    names = attribute_names(columns)
    assert len(names) == len(columns)
    assert len(set(names)) == len(names)
    assert all(names)


@pytest.mark.parametrize("column", ["_row", "_column", "_error", " _error "])
def test_columns_of_a_rejects_file_are_no_attributes(column: str) -> None:
    made = cleaner(["email", column, "Plan"])
    values = only(made.clean(Batch(2, [["a@example.com", "7", "free"]]), {}))
    assert json.loads(values["attributes"]) == {"Plan": "free"}


def test_without_other_columns_there_are_no_attributes() -> None:
    assert cleaner(["email", "phone", "_row"]).names == ("email", "phone")
    assert cleaner(["sku", "colour"], target="products").names == ("sku",)


REJECTS: list[tuple[list[str], str | None, str]] = [
    (row("", "Ada"), "Email", "missing_email"),
    (row("  ", "Ada"), "Email", "missing_email"),
    (row("nobody"), "Email", "invalid_email"),
    (["a@example.com", "Ada"], None, "cell_count"),
    ([*row("a@example.com"), ""], None, "cell_count"),
    (row("a@example.com", "x" * (MAX_FIELD_CHARS + 1)), "First Name", "too_long"),
    (row("a@example.com", "", "", "", "", "x" * (MAX_CHARS + 1)), "Plan", "too_long"),
    (row("a@example.com", "", "", "nul\x00"), "Company", "nul_character"),
    (row("a@example.com", "", "", "", "", "", "nul\x00"), "Plan", "nul_character"),
    (row("a@example.com", "", "caf\udce9"), "Last Name", "not_utf8"),
    (row("caf\udce9@example.com"), "Email", "invalid_email"),
    (row("nul\x00@example.com"), "Email", "invalid_email"),
    (row("a" * 2000 + "@example.com"), "Email", "invalid_email"),
    (row("a@example.com", "", "", "", "+44 1"), "Phone", "invalid_phone"),
]


@pytest.mark.parametrize(("cells", "column", "code"), REJECTS)
def test_a_bad_row_is_rejected_with_its_number_column_and_code(
    cells: list[str], column: str | None, code: str
) -> None:
    result = clean(row("x@example.com"), cells, row("y@example.com"))
    (reject,) = result.rejects
    assert (reject.row_number, reject.column, reject.code) == (3, column, code)
    assert reject.message.endswith((".", ";", "'"))
    assert (result.keys, result.rows) == (["x@example.com", "y@example.com"], [2, 4])
    assert {len(column) for column in result.columns} == {2}
    assert result.total == 3


def test_a_record_that_could_not_be_read_keeps_its_reason() -> None:
    problems = {0: Problem("invalid_csv", "A quote is never closed.")}
    result = clean(["a@example.com", "x\udce9"], row("b@example.com"), problems=problems)
    (reject,) = result.rejects
    assert reject == (
        2,
        None,
        "invalid_csv",
        "A quote is never closed.",
        ["a@example.com", "x\ufffd"],
    )
    assert result.keys == ["b@example.com"]


def test_the_first_fault_of_a_row_is_told() -> None:
    (reject,) = clean(row("nobody", "", "", "nul\x00", "+1")).rejects
    assert reject.code == "invalid_email"
    (reject,) = clean(row("a@example.com", "", "", "nul\x00", "+1")).rejects
    assert reject.code == "nul_character"


def test_the_longest_values_that_are_allowed_are_kept() -> None:
    field, attribute = "x" * MAX_FIELD_CHARS, "y" * MAX_CHARS
    values = only(clean(row("a@example.com", field, "", "", "", attribute)))
    assert values["first_name"] == field
    assert json.loads(values["attributes"]) == {"Plan": attribute}


def test_a_row_whose_key_another_has_names_that_one() -> None:
    result = clean(row("a@example.com"), row("A@example.com", "x"), duplicates={3: 2, 99: 2})
    assert result.keys == ["a@example.com"]
    (reject,) = result.rejects
    assert (reject.row_number, reject.column, reject.code) == (3, "Email", "duplicate")
    assert "Row 2 has the same e-mail address and comes first" in reject.message


def test_blank_rows_are_counted_in_the_numbers_and_nowhere_else() -> None:
    result = clean([], row(), [" ", " "], row(" "), row("nobody"), [])
    assert result.total == 1
    assert [reject.row_number for reject in result.rejects] == [6]


def test_rejected_cells_are_kept_as_sent_as_far_as_the_database_can() -> None:
    (reject,) = clean(["caf\udce9 @x", "a\x00b", " plain ", "", "", "😀", ""]).rejects
    assert reject.cells == ["caf\ufffd @x", "a\ufffdb", " plain ", "", "", "😀", ""]


def test_short_rows_are_filled_up_where_that_is_wanted() -> None:
    result = clean(
        ["a@example.com", "Ada"],
        [*row("b@example.com"), "", " "],
        [*row("c@example.com"), "more"],
        short_rows="pad",
    )
    assert result.keys == ["a@example.com", "b@example.com"]
    assert [reject.code for reject in result.rejects] == ["cell_count"]


def test_the_keys_are_those_of_rows_that_can_win() -> None:
    records = [
        row(" ADA@example.com"),
        row("nobody"),
        row(""),
        [],
        ["short@example.com"],
        row("b@example.com", "nul\x00"),
        row("broken@example.com"),
    ]
    batch = Batch(2, records, {6: Problem("not_in_encoding", "x.")})
    assert cleaner().keys(batch) == ["ada@example.com", "", "", "", "", "b@example.com", ""]
    padded = cleaner(short_rows="pad")
    assert padded.keys(batch)[4] == "short@example.com"
    assert cleaner().keys(Batch(2, records[:1])) == ["ada@example.com"]


AS_READ = st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
CELL = st.one_of(st.text(max_size=8), AS_READ, st.sampled_from(["", "a@b.co", "+1", "\\", '"']))
RECORD = st.one_of(
    st.lists(CELL, min_size=7, max_size=7),
    st.lists(CELL, min_size=6, max_size=6).map(lambda cells: ["a@example.com", *cells]),
    st.lists(CELL, max_size=9),
)


@settings(deadline=None)
@given(records=st.lists(RECORD, max_size=6))
def test_whatever_is_kept_the_database_can_hold(records: list[list[str]]) -> None:
    result = clean(*records)
    kept = [
        *(value for column in result.columns for value in column),
        *(told for reject in result.rejects for told in (*reject.cells, reject.message)),
    ]
    for told in kept:
        assert "\x00" not in told
        assert told.encode() is not None
    if "attributes" in result.names and result.rows:
        for one in result.columns[-1]:
            assert all(value and "\x00" not in value for value in json.loads(one).values())
    assert len(result.rows) + len(result.rejects) == result.total
    assert all(len(column) == len(result.rows) for column in result.columns)


@settings(deadline=None)
@given(records=st.lists(RECORD, min_size=1, max_size=8), cut=st.integers(0, 8))
def test_what_comes_out_does_not_depend_on_how_the_file_is_cut(
    records: list[list[str]], cut: int
) -> None:
    cut = min(cut, len(records))
    made = cleaner()
    whole = made.clean(Batch(2, records), {})
    parts = [made.clean(Batch(2, records[:cut]), {}), made.clean(Batch(2 + cut, records[cut:]), {})]
    joined = Cleaned.joined(parts)
    assert (joined.total, joined.rows, joined.rejects) == (whole.total, whole.rows, whole.rejects)
    assert joined.columns == whole.columns
    assert joined.records == whole.records
    keys = made.keys(Batch(2, records[:cut])) + made.keys(Batch(2, records[cut:]))
    assert made.keys(Batch(2, records)) == keys
    assert [key for key in keys if key in set(whole.keys)] == whole.keys or whole.rejects
