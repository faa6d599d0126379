"""The plan covers the file exactly, and agrees with what the chunks will find."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.contacts import CleanRows, ContactCleaner
from app.imports.emails import InvalidEmail, check_email
from app.imports.lifecycle import pack_rows, unpack_rows
from app.imports.plan import Plan, plan_file
from app.imports.records import BOM, LineTooLong, RecordReader

COLUMNS = ["email", "name", "note"]
FIELDS = ["email", "", ""]
LINES = [
    b"a@example.com,Ada,1",
    b"A@EXAMPLE.com ,Ada,2",
    b"b@example.com,Bob,",
    b'c@example.com,"C, and\r\nmore","x""y"',
    "jürgen@example.com,J,ü".encode(),
    b"d@b\xc3\xbccher.example.com,D,",
    b"d@xn--bcher-kva.example.com,D,",
    BOM + b"a@example.com,Ada,mark",
    BOM + b"email,name,note",
    b"nobody,N,",
    b"nobody,N,",
    b",only,a name",
    b"a@example.com,too few",
    b"a@example.com,too,many,cells",
    b"",
    b",,",
    b' , ,""',
    b'"a"b,c,d',
    b"caf\xe9@example.com,x,y",
    b"e@example.com,caf\xe9,y",
    b"f@example.com,\x00,y",
]
FILES = st.builds(
    lambda before, lines, ends, last, bom: (
        BOM * bom
        + b"\n" * before
        + b"email,name,note\r\n"
        + b"".join(line + end for line, end in zip(lines, ends, strict=False))
        + last
    ),
    st.integers(0, 2),
    st.lists(st.sampled_from(LINES), max_size=25),
    st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=25, max_size=25),
    st.sampled_from([b"", b"z@example.com,last,no end", b'"never closed']),
    st.booleans(),
)


def blocks_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def plan(data: bytes, *, chunk_bytes: int, block: int = 64) -> Plan:
    return plan_file(
        blocks_of(data, block), width=len(COLUMNS), email_column=0, chunk_bytes=chunk_bytes
    )


def import_chunks(data: bytes, made: Plan) -> list[CleanRows]:
    """What the chunk jobs do, each with its own bytes alone."""
    cleaner = ContactCleaner(COLUMNS, FIELDS)
    return [
        cleaner.clean(
            RecordReader([data[chunk.start : chunk.end]], start=chunk.start),
            first_row=chunk.first_row,
            superseded=chunk.superseded,
        )
        for chunk in made.chunks
    ]


def expected_contacts(data: bytes) -> dict[str, int]:
    """The model: a dictionary filled row by row, so that the last row with an address wins."""
    winners: dict[str, int] = {}
    for number, (cells, error) in enumerate(RecordReader([data]), 1):
        if error is None and len(cells) == len(COLUMNS):
            try:
                winners[check_email(cells[0])] = number
            except InvalidEmail:
                continue
    return winners


@given(data=FILES, chunk_bytes=st.integers(1, 300), block=st.integers(1, 200))
@settings(max_examples=300)
def test_the_plan_covers_every_byte_once_and_agrees_with_its_chunks(
    data: bytes, chunk_bytes: int, block: int
) -> None:
    made = plan(data, chunk_bytes=chunk_bytes, block=block)
    done = import_chunks(data, made)

    header_end = data.index(b"note\r\n") + len(b"note\r\n")
    starts = [chunk.start for chunk in made.chunks]
    ends = [chunk.end for chunk in made.chunks]
    assert [header_end, *ends] == [*starts, len(data)]

    header_row = data[:header_end].count(b"\n")
    rows = [chunk.rows for chunk in made.chunks]
    first_rows = [header_row + 1 + sum(rows[:index]) for index in range(len(rows))]
    assert [chunk.first_row for chunk in made.chunks] == first_rows
    for chunk in made.chunks:
        piece = RecordReader([data[chunk.start : chunk.end]], start=chunk.start)
        assert chunk.rows == len(list(piece)) > 0
    assert made.total == sum(result.total for result in done)


@given(data=FILES, chunk_bytes=st.integers(1, 300))
@settings(max_examples=300)
def test_the_last_row_with_an_address_wins_across_all_chunks(data: bytes, chunk_bytes: int) -> None:
    made = plan(data, chunk_bytes=chunk_bytes)
    done = import_chunks(data, made)
    imported = [contact.email for result in done for contact in result.contacts]
    assert len(imported) == len(set(imported))

    rejected = {reject.row_number: reject for result in done for reject in result.rejects}
    winners = expected_contacts(data)
    expected = {email for email, number in winners.items() if number not in rejected}
    assert set(imported) == expected
    superseded = {row: to for chunk in made.chunks for row, to in chunk.superseded.items()}
    for number, reject in rejected.items():
        if reject.code == "duplicate":
            assert superseded[number] > number
            assert superseded[number] == winners[check_email(reject.cells[0])]


@given(data=FILES)
def test_one_chunk_or_many_make_no_difference(data: bytes) -> None:
    def outcome(chunk_bytes: int) -> tuple[object, ...]:
        done = import_chunks(data, plan(data, chunk_bytes=chunk_bytes))
        contacts = [contact for result in done for contact in result.contacts]
        return contacts, [reject for result in done for reject in result.rejects]

    assert outcome(1) == outcome(10**9)


def test_a_file_without_rows_has_no_chunks() -> None:
    assert plan(b"email,name,note\n", chunk_bytes=10) == Plan([], 0)


@pytest.mark.parametrize("chunk_bytes", [100, 1000, 5000])
def test_chunks_are_about_as_large_as_asked(chunk_bytes: int) -> None:
    dice = random.Random(1)  # noqa: S311 - the same every time
    data = b"email,name,note\n" + b"".join(
        b"user%d@example.com,%s,\n" % (number, b"x" * dice.randrange(40)) for number in range(1000)
    )
    made = plan(data, chunk_bytes=chunk_bytes, block=100_000)
    sizes = [chunk.end - chunk.start for chunk in made.chunks]
    assert min(sizes[:-1]) >= chunk_bytes
    assert max(sizes) < 2 * chunk_bytes + 100


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(LineTooLong):
        plan(b"email,name,note\n" + b"x" * 3_000_000, chunk_bytes=10**6, block=10**6)


@given(pairs=st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
def test_row_pairs_survive_being_packed(pairs: dict[int, int]) -> None:
    assert unpack_rows(pack_rows(pairs)) == pairs
