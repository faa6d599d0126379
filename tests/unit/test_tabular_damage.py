"""One damaged row: it is read as far as it can be, and its neighbours as if nothing were wrong."""

from collections.abc import Callable

import pytest

from tests.support.tables import HEADER, ROWS, Rows, joined, read, written

Damage = Callable[[list[str], str], str]
PLACES = (0, 1, 2, 3, 10, 22)


def with_damage(place: int, damage: Damage) -> str:
    lines = [written([row], header=None) for row in ROWS]
    lines[place] = damage(ROWS[place], lines[place])
    return written([]) + "".join(lines)


def neighbours(rows: Rows, place: int) -> Rows:
    return rows[:place] + rows[place + 1 :]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("quoting", [0, 1])
@pytest.mark.parametrize("delimiter", [*";\t|:^ "])
def test_a_row_with_another_delimiter(delimiter: str, quoting: int, place: int) -> None:
    found = read(
        with_damage(
            place, lambda row, _: written([row], None, delimiter=delimiter, quoting=quoting)
        )
    )
    assert (found.rows, found.problems) == (ROWS, {})


@pytest.mark.parametrize("place", [0, 1, 10])
@pytest.mark.parametrize(
    "damage",
    [
        lambda row, _: joined(", ", [row]),
        lambda row, _: written([row], None, quotechar="'"),
        lambda row, _: written([row], None, quotechar="'", quoting=1),
        lambda _, line: '"' + line.rstrip("\r\n").replace('"', '""') + '"\r\n',
        lambda _, line: line[:4] + "\0" + line[4:],
    ],
    ids=["comma and space", "quote", "quote all", "quoted as a whole", "NUL"],
)
def test_a_row_written_in_another_manner(damage: Damage, place: int) -> None:
    found = read(with_damage(place, damage))
    assert (found.rows, found.problems) == (ROWS, {})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("where", [0, 1, 2], ids=["before", "inside", "after"])
@pytest.mark.parametrize("column", range(9))
def test_a_quote_too_many(column: int, where: int, place: int) -> None:
    def damage(row: list[str], _: str) -> str:
        cells = [written([[cell, ""]], None).removesuffix(",\r\n") for cell in row]
        cell = cells[column]
        cut = (0, len(cell) // 2, len(cell))[where]
        cells[column] = f'{cell[:cut]}"{cell[cut:]}'
        return ",".join(cells) + "\r\n"

    found = read(with_damage(place, damage))
    assert found.columns == HEADER
    assert neighbours(found.rows, place) == neighbours(ROWS, place)
    assert neighbours(found.rows[place], column) == neighbours(ROWS[place], column)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ('1,"abc,3', ["1", '"abc', "3"]),
        ('1,"abc "def" ghi",3', ["1", 'abc "def" ghi', "3"]),
        ('1,"Dr. No" (film),3', ["1", '"Dr. No" (film)', "3"]),
        ('"1","ab,"3"', ["1", '"ab', "3"]),
        ('"1",ab","3"', ["1", 'ab"', "3"]),
        ('1,"say \\"hi\\" now",3', ["1", 'say "hi" now', "3"]),
        ('"Smith, J","5" pipe,3', ["Smith, J", '"5" pipe', "3"]),
        ('1,"two "fine"\nlines",3', ["1", 'two "fine"\nlines', "3"]),
        ('1, "a, b",3', ["1", "a, b", "3"]),
        ("1,one\rtwo,3", ["1", "one\rtwo", "3"]),
    ],
)
def test_what_a_careful_person_would_read(line: str, cells: list[str]) -> None:
    found = read(f"x,y,z\n4,five,6\n{line}\n7,eight,9\n10,eleven,12\n")
    assert found.rows == [["4", "five", "6"], cells, ["7", "eight", "9"], ["10", "eleven", "12"]]
    assert found.problems == {}


def test_a_quote_that_never_closes_costs_one_row() -> None:
    lines = "".join(f"{number},plain text,{number}\n" for number in range(50_000))
    found = read(f'a,b,c\n{lines}1,"open,3\n{lines}')
    assert len(found.rows) == 100_001
    assert found.rows[50_000] == ["1", '"open', "3"]


def test_a_row_beyond_repair_is_a_problem() -> None:
    found = read('a,b,c\n1,2,3\n"a,b,"c,"d\n4,5,6\n7,8,9\n')
    assert found.problems[3].code == "invalid_csv"
    assert neighbours(found.rows, 1) == [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"]]


def test_bytes_that_are_not_in_the_encoding() -> None:
    lines = ["name,city", "Ann,Köln", "Bob,Düren", "Cy,Zürich", "Do,Bern"]
    data = b"\n".join(line.encode("cp1252" if "Bob" in line else "utf-8") for line in lines)
    found = read(data)
    assert found.layout.encoding == "utf-8"
    assert {row: problem.code for row, problem in found.problems.items()} == {3: "not_in_encoding"}
    assert found.rows == [["Ann", "Köln"], ["Bob", "D\udcfcren"], ["Cy", "Zürich"], ["Do", "Bern"]]


def test_an_encoding_that_changes_half_way() -> None:
    half = "Ann,Köln\n" * 20
    found = read(b"name,city\n" + half.encode() + half.encode("cp1252"))
    assert sorted(found.problems) == list(range(22, 42))
    assert found.rows[:20] == [["Ann", "Köln"]] * 20


def test_rows_that_are_all_broken_in_one_way_are_rows_of_their_own() -> None:
    sound = [[f"{n}", "Ann", f"note {n}", f"a{n}@example.com"] for n in range(40)]
    broken = [f'{n},"Ann" Lee,note {n},a{n}@example.com' for n in range(400)]
    lines = ["id,name,note,mail", *map(",".join, sound), *broken]
    found = read("\n".join(lines) + "\n")
    assert found.rows[:40] == sound
    assert [row[0] for row in found.rows[40:]] == [f"{n}" for n in range(400)]
    assert all(row[1] in ('"Ann" Lee', "Ann Lee") and len(row) == 4 for row in found.rows[40:])
