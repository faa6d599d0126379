"""A little fuzzing in every run of the tests; `make fuzz` does it for longer, led by coverage."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpus.generate import corpus
from tests.fuzz.promises import SMALL, blocks_of, check, check_input

PIECES = (
    *("a", "b", "name", "1", "12.5", "é", "ß", "a@b.de", "2019-01-01", "Total"),
    *(",", ";", "\t", "|", " ", ":", "||", ", "),
    *('"', '""', "'", "\\", '\\"', "\0", "\n", "\n", "\r\n", "\r", "\n\n", "\x1a", "\u2028"),
    *('","', '"\n"', "sep=;\n", ",,,\n"),
)
KEPT = Path(__file__).with_name("kept")
QUICK = settings(max_examples=100, deadline=60_000, suppress_health_check=list(HealthCheck))


@cache
def seeds() -> tuple[bytes, ...]:
    return tuple(case.data for case in corpus() if len(case.data) < 3_000)


@pytest.mark.parametrize("path", sorted(KEPT.iterdir()), ids=lambda path: path.stem)
def test_what_broke_the_reader_once(path: Path) -> None:
    check_input(path.read_bytes())


def test_a_line_that_names_the_delimiter_and_nothing_else() -> None:
    check(b"sep=;\n")


@QUICK
@given(
    st.lists(st.sampled_from(PIECES), max_size=60), st.sampled_from(["utf-8", "cp1252", "utf-16"])
)
def test_any_text_is_a_table_or_an_error_of_ours(pieces: list[str], encoding: str) -> None:
    check("".join(pieces).encode(encoding, "replace"))


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_an_error_of_ours(data: bytes) -> None:
    check_input(data)


@QUICK
@given(st.data())
def test_odd_files_with_something_cut_doubled_or_put_in(data: st.DataObject) -> None:
    made = data.draw(st.sampled_from(seeds()))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(made)))
        end = data.draw(st.integers(start, min(len(made), start + 80)))
        middle = data.draw(
            st.sampled_from(
                [b"", made[start:end] * 2, *(p.encode() for p in PIECES), b"\xff", b"\xc3"]
            )
        )
        made = made[:start] + middle + made[end:]
    check(made)
    with blocks_of(SMALL):
        check(made)


@pytest.mark.parametrize(
    "repeated", [b'"', b"\n", b",", b"\0", b'"\n', b'a"b,', b'"a",b\n"', b"\r\n\n"]
)
def test_a_lot_of_one_thing_takes_bounded_time(repeated: bytes) -> None:
    check(repeated * (60_000 // len(repeated)))
    check(b"a,b\n1,2\n" + repeated * (60_000 // len(repeated)) + b"\n3,4\n")
