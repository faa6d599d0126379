"""Many rows of CSV at once are guarded exactly as their cells are one by one."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.tabular.guarded_rows import guard_rows
from app.tabular.spreadsheet import guarded

PIECES = (
    *"=+-@'\"\t\r\n ,;a1.()5",
    *"\u3000\xa0\u200b\ufeff\uff1d\uff0b\uff0d\uff20\u2212\u2028\x1c\x85\x0b\x0c\u180e\u2060é漢。あＡ£\U0001f600",
)
CELL = st.none() | st.text(alphabet=st.sampled_from(PIECES), max_size=6) | st.text()


def as_copy(rows: list[list[str | None]]) -> bytes:
    """As PostgreSQL's COPY writes them."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows).encode(errors="replace")


def _cell(cell: str | None) -> str:
    if cell is None:
        return ""
    if cell == "" or any(char in cell for char in ',"\n\r'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def expected(rows: list[list[str | None]]) -> bytes:
    return as_copy([[cell if cell is None else guarded(cell) for cell in row] for row in rows])


@settings(deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=6))
def test_a_block_is_guarded_cell_by_cell(rows: list[list[str | None]]) -> None:
    assert guard_rows(as_copy(rows)) == expected(rows)


def test_every_beginning_is_seen_at_every_place() -> None:
    dice = random.Random(5)  # noqa: S311 - the same cells every time
    cells = ["", *(first + rest for first in PIECES for rest in ("", "=1", "5", "x", "'=", "+1"))]
    cells += ["".join(dice.choices(PIECES, k=dice.randrange(1, 6))) for _ in range(20_000)]
    for width in (1, 3):
        rows: list[list[str | None]] = [
            list(cells[at : at + width]) for at in range(0, len(cells), width)
        ]
        assert guard_rows(as_copy(rows)) == expected(rows)


def test_numbers_of_any_length_are_plain_and_what_only_looks_so_is_not() -> None:
    for length in (1, 46, 47, 48, 49, 50, 5_000):
        digits = "1" * length
        ends: list[str | None] = [f"+{digits}", f"-{digits}x", f"- {'.' * length}", f"-{digits},0"]
        rows = [ends, [*ends[::-1]]]
        assert guard_rows(as_copy(rows)) == expected(rows)


def test_what_needs_no_guard_is_the_block_itself() -> None:
    block = as_copy([["a@b.example", "O'Brien", 'say "hi", =now', None, "", "あ"]])
    assert guard_rows(block) is block
