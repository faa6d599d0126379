"""Rejected rows come back as they were, under their own numbers, and no other row comes with them."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.cleaning import Cleaner, Reject
from app.imports.reading import CleanChunk, clean_chunk
from app.imports.rejected import Part, Rejected, header_line, make_part, read_facts
from app.imports.retrying import RetryReader
from app.imports.rows import Read
from app.imports.targets import TARGETS
from app.imports.values import ValueOptions
from app.tabular.batch import Batch, Problem
from app.tabular.layout import Layout
from app.tabular.records import RecordReader

COLUMNS = ("email", "name", "=note")
ALL = (*COLUMNS, "_row", "_column", "_error")
LAYOUT = Layout(header_rows=(1,), first_row=2, columns=ALL, exact=True)
TARGET = TARGETS["contacts"]
CELL = st.text(alphabet=st.sampled_from("=+-@'ab,\"\n 1\u3000"), max_size=4)
BAD_ROWS = st.lists(
    st.lists(CELL, min_size=1, max_size=5).filter(lambda row: any(cell.strip() for cell in row)),
    min_size=1,
    max_size=12,
)


class AsItIs:
    def read(self, batch: Batch) -> Read:
        return Read(batch)


def cleaner(**options: str) -> Cleaner:
    return Cleaner(
        TARGET, COLUMNS, ["email", "first_name", ""], ValueOptions.model_validate(options)
    )


def first_import(
    rows: list[list[str]], duplicates: Mapping[int, int] | None = None
) -> tuple[CleanChunk, Part]:
    """Rows numbered from 10; those of three cells whose address is bad, and those of another width."""
    done = clean_chunk(AsItIs(), cleaner(), [Batch(10, rows)], duplicates or {})
    part = make_part(done.rejects, done.facts, width=len(COLUMNS))
    assert part is not None
    return done, part


def again(
    text: bytes, part: Part, *, as_they_were: bool, with_cleaner: Cleaner | None = None
) -> CleanChunk:
    facts = read_facts(part.facts)

    def find(numbers: Sequence[int]) -> dict[int, Rejected]:
        return {number: facts[number] for number in numbers if number in facts}

    use = with_cleaner or cleaner()
    reader = RetryReader(ALL, use, find, as_they_were=as_they_were)
    header = header_line(COLUMNS)
    file = RecordReader(BytesIO(text), LAYOUT, first_row=2, start=len(header))
    return clean_chunk(reader, use, file, {})


def told(reject: Reject) -> tuple[object, ...]:
    """Blank cells beyond the header are nothing to the reader."""
    cells = [cell.strip() if at >= len(COLUMNS) else cell for at, cell in enumerate(reject.cells)]
    return (reject.row_number, reject.column, reject.message, cells)


def corrected(*rows: list[str]) -> bytes:
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


@settings(max_examples=300)
@given(rows=BAD_ROWS)
def test_what_was_rejected_is_rejected_again_for_the_same_reason(rows: list[list[str]]) -> None:
    done, part = first_import(rows)
    second = again(part.text, part, as_they_were=True)
    assert list(map(told, second.rejects)) == list(map(told, done.rejects))
    assert second.total == len(rows)


def test_a_rule_that_changed_lets_short_rows_through_and_no_long_ones() -> None:
    _, part = first_import([["ada@example.com", "Ada"], ["bob@example.com", "B", "n", "more"]])
    second = again(part.text, part, as_they_were=True, with_cleaner=cleaner(short_rows="pad"))
    assert second.cleaned.rows == [10]
    assert second.cleaned.keys == ["ada@example.com"]
    ((row, _, code, _, cells),) = second.rejects
    assert (row, code, cells) == (11, "cell_count", ["bob@example.com", "B", "n", "more"])


def test_a_row_that_could_not_be_read_is_not_guessed_at() -> None:
    batch = Batch(10, [["ada@example.com", "Ada", "x"]], {0: Problem("invalid_csv", "It is torn.")})
    done = clean_chunk(AsItIs(), cleaner(), [batch], {})
    part = make_part(done.rejects, done.facts, width=3)
    assert part is not None
    second = again(part.text, part, as_they_were=True)
    ((row, column, _, message, _),) = second.rejects
    assert (row, column, message) == (10, None, "It is torn.")
    assert second.facts == done.facts
    mended = again(part.text, part, as_they_were=False)
    assert mended.cleaned.rows == [10]


def test_a_value_that_could_not_be_kept_is_not_imported_without_it() -> None:
    _, part = first_import([["ada@example.com", "A\x00da", "x"]])
    assert [r.row_number for r in again(part.text, part, as_they_were=True).rejects] == [10]


def test_a_duplicate_stays_one_until_its_address_is_another() -> None:
    rows = [["ada@example.com", "Ada 2", ""], ["nobody", "N", ""]]
    done, part = first_import(rows, {10: 3})
    assert [r.code for r in done.rejects] == ["duplicate", "invalid_email"]
    for as_they_were in (True, False):
        second = again(part.text, part, as_they_were=as_they_were)
        assert [(r.row_number, r.code) for r in second.rejects] == [
            (10, "duplicate"),
            (11, "invalid_email"),
        ]
        assert "Row 3 " in second.rejects[0].message
    text = corrected(["ada@new.example.com", "Ada 2", "", "10", "", ""])
    assert again(text, part, as_they_were=False).cleaned.rows == [10]


def test_only_rows_that_were_rejected_come_through() -> None:
    _, part = first_import([["nobody", "N", ""]])
    text = corrected(
        ["good@example.com", "G", "", "10", "email", "whatever"],
        ["other@example.com", "O", "", "11", "", ""],
        ["third@example.com", "T", "", "", "", ""],
        ["fourth@example.com", "F", "", "=10", "", ""],
    )
    second = again(text, part, as_they_were=False)
    assert (second.cleaned.rows, second.cleaned.keys) == ([10], ["good@example.com"])
    assert sorted((r.row_number, r.code) for r in second.rejects) == [
        (0, "no_row_number"),
        (0, "no_row_number"),
        (11, "not_rejected_before"),
    ]
    assert second.facts == []
    assert second.total == 4


def test_cells_that_were_guarded_are_what_they_were() -> None:
    _, part = first_import([["nobody", "=1+1", "'=2"]])
    text = part.text.replace(b"nobody", b"somebody@example.com")
    second = again(text, part, as_they_were=False)
    assert second.cleaned.records == [["somebody@example.com", "=1+1", "'=2"]]
