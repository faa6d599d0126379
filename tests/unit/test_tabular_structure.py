"""What stands around a table: titles, headers, totals, other tables."""

import pytest

from tests.support.tables import HEADER, ROWS, Read, read, written

BASE = written(ROWS)
PADDED = "," * 8 + "\r\n"


def same(found: Read) -> None:
    assert found.columns == HEADER
    assert found.rows == ROWS


@pytest.mark.parametrize(
    "preamble",
    [
        "Report of sales\r\nMade on 2018-12-01 by J. Smith\r\n",
        "Report of sales\r\n\r\n",
        "Report of sales, by Smith, John, and others\r\n\r\n",
        f"Report{PADDED}Made on:,2018-12-01,,,,,,,\r\n{PADDED}",
        "Report:,Sales\r\nMade on:,2018-12-01\r\nBy:,John\r\n\r\n",
        "Report,Sales\r\nMade on,2018-12-01\r\nBy,John\r\nPlace,Rome\r\n",
        'Report "Q3\r\n',
        "".join(f"# comment {number}, with words\r\n" for number in range(12)),
    ],
)
def test_what_stands_above_the_header(preamble: str) -> None:
    found = read(preamble + BASE)
    same(found)
    assert "preamble" in found.doubts
    assert found.layout.first_row == found.layout.header_rows[0] + 1 == preamble.count("\n") + 2


@pytest.mark.parametrize(
    "footer",
    [
        "Total,,823,,,,,,\r\n",
        "\r\nGrand Total:,,1,2\r\n",
        "\r\nSource: warehouse, checked by J. Smith\r\n",
        "Source: warehouse\r\n",
        f"\r\n\r\nNote{PADDED}(1) figures are estimates{PADDED}",
        "(19 rows)\r\n",
        "Generated on 2018-12-12\r\nBy Smith\r\n",
    ],
)
def test_what_stands_below_the_table(footer: str) -> None:
    found = read(BASE + footer)
    same(found)
    assert "footer" in found.doubts
    assert found.layout.footer_rows == footer.count("\n")


def test_blank_records_count_but_are_no_rows() -> None:
    found = read("\r\n\r\n" + BASE + PADDED * 3)
    same(found)
    assert (found.layout.header_rows, found.layout.first_row) == ((3,), 4)
    assert found.doubts == set()
    assert read("a,b\n1,2\n , \n3,4\n   \n5,6\n").rows == [["1", "2"], ["3", "4"], ["5", "6"]]


def test_a_short_last_row_is_no_footer() -> None:
    assert read("a,b,c\n1,2,3\n4,5,6\n7").rows[-1] == ["7", "", ""]
    assert read("a,b,c\n1,2,3\n4,5,6\n7,8").rows[-1] == ["7", "8", ""]


@pytest.mark.parametrize("count", [1, 2, 17])
def test_no_header(count: int) -> None:
    rows = ROWS[6 : 6 + count]
    found = read(written(rows, header=None))
    assert found.columns == [f"column {number}" for number in range(1, 10)]
    assert found.rows == rows
    assert "no_header" in found.doubts


def test_only_a_header() -> None:
    for text in (written([]), written([]).strip()):
        found = read(text)
        assert (found.columns, found.rows) == (HEADER, [])


def test_a_header_that_could_be_data_is_a_doubt() -> None:
    assert "header_unsure" in read("foo,bar\nAnn,Rome\nBob,Paris\n").doubts
    assert read("name,city\nAnn,Rome\nBob,Paris\n").doubts == set()


def test_the_caller_says_where_the_header_is() -> None:
    assert read("a,b\nc,d\n", header_row=0).rows == [["a", "b"], ["c", "d"]]
    found = read("x,y\nz,w\na,b\n1,2\n", header_row=3)
    assert (found.columns, found.rows) == (["a", "b"], [["1", "2"]])


def test_groups_of_columns() -> None:
    lines = "".join(f"N{n}x,C{n},{n},{n},{n},{n}\n" for n in range(1, 9))
    found = read("Region,,2018,,2019,\nName,Code,Sales,Cost,Sales,Cost\n" + lines)
    assert found.columns == [
        "Region Name", "Region Code", "2018 Sales", "2018 Cost", "2019 Sales", "2019 Cost",
    ]  # fmt: skip
    assert len(found.rows) == 8
    assert "several_header_rows" in found.doubts


def test_units_below_names_and_words_in_place_of_values() -> None:
    units = read("time,speed,mass\n(s),(m/s),(kg)\n1,2,3\n4,5,6\n")
    assert units.columns == ["time (s)", "speed (m/s)", "mass (kg)"]
    unknown = read("name,age\nx,unknown\ny,2\nz,3\nw,4\n")
    assert (unknown.columns, unknown.rows[0]) == (["name", "age"], ["x", "unknown"])


def test_years_name_columns() -> None:
    found = read("Country,2018,2019,2020\nFR,1,2,3\nDE,4,5,6\nIT,7,8,9\n")
    assert found.columns == ["Country", "2018", "2019", "2020"]


def test_names_stand_as_they_are() -> None:
    found = read('a,a,,"x\ny"\n1,2,3,4\n5,6,7,8\n')
    assert found.columns == ["a", "a", "", "x\ny"]
    long = "n" * 10_000
    assert read(f"{long},b\n1,2\n").columns == [long, "b"]
    wide = [f"c{number}" for number in range(1024)]
    assert read(",".join(wide) + "\n" + ",".join("1" * 1024) + "\n").columns == wide


@pytest.mark.parametrize("blank", ["", "\r\n", "\r\nTable 2: returns\r\n"])
@pytest.mark.parametrize("width", [3, 9, 12])
def test_a_second_table_is_not_mixed_in(width: int, blank: str) -> None:
    if width == 9 and not blank:
        pytest.skip("nothing tells them apart")
    names = [f"Second {number}" for number in range(width)]
    rows = [[str(number * row) for number in range(width)] for row in range(1, 8)]
    found = read(BASE + blank + written(rows, header=names))
    same(found)
    assert "several_tables" in found.doubts


def test_a_repeated_header_is_no_row() -> None:
    assert read(BASE + BASE).rows == ROWS + ROWS


@pytest.mark.parametrize("extra", [",", ",,,"])
def test_trailing_delimiters(extra: str) -> None:
    same(read(BASE.replace("\r\n", extra + "\r\n")))
    header, rest = BASE.split("\r\n", 1)
    same(read(f"{header}{extra}\r\n{rest}"))
    same(read(header + "\r\n" + rest.replace("\r\n", extra + "\r\n")))


def test_ragged_rows_stay_rows() -> None:
    found = read("a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n4,5,6\n")
    assert found.rows == [["1", "2", "3"], ["4", "5", ""], ["6", "7", "8", "9"], ["1", "2", "3"], ["4", "5", "6"]]  # fmt: skip
    assert found.problems == {}
    often = read("a,b,c\n" + "1,2\n1,2,3\n" * 50)
    assert (often.columns, len(often.rows)) == (["a", "b", "c"], 100)
