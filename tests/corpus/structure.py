"""What stands around the table: titles, notes, blank lines, other tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.corpus.case import Case, Cells, Reading, Table, whole
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.tables import (
    contacts,
    events,
    nations,
    orders,
    organogram,
    pairs,
    products,
    sensors,
    spending,
)

TITLES = (
    ("Sales report for the harbour district",),
    ("Monthly return, May 2019", "Prepared by: Finance team"),
    ("Report: orders", "Period: 2019-01-01 to 2019-12-31", "Status: final"),
    ("Harbour Agency", "", "Orders by day"),
    ("Title: Orders", "Author: A. Smith, B. Jones", "Created: 2020-02-01", "Version: 2", ""),
)
NOTES = (
    ("Source: Harbour Agency",),
    ("", "Notes: figures are provisional, and may be revised."),
    ("", "* including VAT", "** estimated", "Contact: statistics@example.gov"),
    ("End of report",),
)
DIALECTS = (COMMA, SEMICOLON, Dialect(delimiter="\t", line_end="\r\n"))
MAKERS = (orders, contacts, spending, sensors, products)


def cases() -> Iterator[Case]:
    yield from _preambles()
    yield from _footers()
    yield from _blank_lines()
    yield from _several_tables()


def _preambles() -> Iterator[Case]:
    for number, title in enumerate(TITLES):
        for dialect in DIALECTS:
            for make in (MAKERS[number], MAKERS[(number + 2) % len(MAKERS)]):
                table = make(22)
                lines = dialect.lines((table.header, *table.rows))
                name = f"{number}-{dialect.delimiter.encode().hex()}-{table.name}"
                texts = [line.replace(dialect.delimiter, " ") for line in title]
                yield _around(f"plain-{name}", table, dialect.join([*texts, *lines]))
                pad = dialect.delimiter * (table.width - 1)
                padded = [line + pad for line in texts]
                yield _around(f"delimited-{name}", table, dialect.join([*padded, *lines]))
    for delimiter in (";", ",", "\t", "|"):
        dialect = Dialect(delimiter=delimiter, line_end="\r\n")
        table = orders(10)
        lines = [f"sep={delimiter}", *dialect.lines((table.header, *table.rows))]
        yield _around(f"sep-{delimiter.encode().hex()}", table, dialect.join(lines))
    yield from _odd_preambles()


def _odd_preambles() -> Iterator[Case]:
    table = spending(15)
    lines = COMMA.lines((table.header, *table.rows))
    pairs_first = ["Publisher,Harbour Agency", "Period,2019", "", *lines]
    yield _around("pairs", table, COMMA.join(pairs_first))
    quoted = ['"Spending over 25,000, by department"', *lines]
    yield _around("quoted-title", table, COMMA.join(quoted))
    long_text = ["This list is made each month, by hand, and has all payments.", "", *lines]
    yield _around("prose-with-commas", table, COMMA.join(long_text))
    comments = ["# made by export 1.2", "# 2019-05-01", *lines]
    yield _around("comments", table, COMMA.join(comments))
    yield _around("blank-lines-first", table, COMMA.join(["", "", *lines]))
    tiny = products(1)
    few = ["Stock list", "", *COMMA.lines((tiny.header, *tiny.rows))]
    yield _around("one-row", tiny, COMMA.join(few))


def _around(name: str, table: Table, data: bytes) -> Case:
    return Case(kind="preamble", name=name, data=data, readings=(whole(table),))


def _footers() -> Iterator[Case]:
    for number, note in enumerate(NOTES):
        for dialect in DIALECTS:
            for make in (MAKERS[number], MAKERS[(number + 3) % len(MAKERS)]):
                table = make(25)
                lines = dialect.lines((table.header, *table.rows))
                texts = [line.replace(dialect.delimiter, " ") for line in note]
                name = f"{number}-{dialect.delimiter.encode().hex()}-{table.name}"
                yield _footer(f"plain-{name}", whole(table), dialect.join([*lines, *texts]))
                pad = dialect.delimiter * (table.width - 1)
                padded = [line + pad for line in texts]
                yield _footer(f"delimited-{name}", whole(table), dialect.join([*lines, *padded]))
    for make, column in ((orders, 4), (spending, 7), (products, 4), (sensors, 1)):
        yield from _totals(make(25), column)


def _footer(name: str, reading: Reading, data: bytes) -> Case:
    return Case(kind="footer", name=name, data=data, readings=(reading,))


def _totals(table: Table, column: int) -> Iterator[Case]:
    """A row of totals has the table's form: reading it as a record is right too."""
    row = tuple({0: "Total", column: "123456.78"}.get(n, "") for n in range(table.width))
    for gap in (False, True):
        rows = (*table.rows, *((("",) * table.width,) if gap else ()), row)
        data = COMMA.file(replace(table, rows=rows))
        reading = Reading(
            header=table.header,
            records=(*table.rows, row),
            optional=frozenset({len(table.rows)}),
        )
        yield _footer(f"total-{table.name}{'-gap' if gap else ''}", reading, data)
    short = [*COMMA.lines((table.header, *table.rows)), "", "Total,123456.78"]
    reading = Reading(
        header=table.header,
        records=(*table.rows, ("Total", "123456.78")),
        optional=frozenset({len(table.rows)}),
    )
    yield _footer(f"total-{table.name}-short", reading, COMMA.join(short))


def _blank_lines() -> Iterator[Case]:
    for make in (orders, contacts, nations, sensors):
        table = make(30)
        for dialect in DIALECTS:
            lines = dialect.lines((table.header, *table.rows))
            delimiters = dialect.delimiter * (table.width - 1)
            ways: dict[str, Sequence[str]] = {
                "end": [*lines, "", "", ""],
                "middle": [*lines[:12], "", *lines[12:]],
                "each": [line for pair in lines for line in (pair, "")],
                "after-header": [lines[0], "", *lines[1:]],
                "spaces": [*lines[:9], "   ", *lines[9:20], "  ", *lines[20:]],
                "delimiters-end": [*lines, delimiters, delimiters],
                "delimiters-middle": [*lines[:15], delimiters, *lines[15:]],
            }
            for word, made in ways.items():
                name = f"{word}-{dialect.delimiter.encode().hex()}-{table.name}"
                yield Case(
                    kind="blank lines", name=name, data=dialect.join(made), readings=(whole(table),)
                )


def _several_tables() -> Iterator[Case]:
    """The first table is the one to read; or the larger, where it comes second."""
    pairings = (
        (orders(20), pairs(6), "fewer"),
        (products(18), spending(7), "more"),
        (contacts(15), _other(6), "same"),
        (sensors(30), products(8), "equal"),
        (organogram(12), nations(9), "texts"),
        (nations(10), events(5), "short"),
    )
    for first, second, word in pairings:
        for dialect in (COMMA, SEMICOLON):
            top = dialect.lines((first.header, *first.rows))
            bottom = dialect.lines((second.header, *second.rows))
            name = f"{word}-{dialect.delimiter.encode().hex()}"
            ways: dict[str, Sequence[str]] = {
                "gap": [*top, "", *bottom],
                "titled": [*top, "", f"Table 2: {second.name}", *bottom],
                "both-titled": [
                    f"Table 1: {first.name}",
                    *top,
                    "",
                    f"Table 2: {second.name}",
                    *bottom,
                ],
            }
            if first.width != second.width:
                ways["joined"] = [*top, *bottom]
            for way, lines in ways.items():
                yield Case(
                    kind="several tables",
                    name=f"{name}-{way}",
                    data=dialect.join(lines),
                    readings=(whole(first),),
                )
    small, large = pairs(3), spending(60)
    lines = [
        *COMMA.lines((small.header, *small.rows)),
        "",
        *COMMA.lines((large.header, *large.rows)),
    ]
    readings = (whole(small), whole(large))
    yield Case(
        kind="several tables", name="larger-second", data=COMMA.join(lines), readings=readings
    )


def _other(rows: int) -> Table:
    """As many columns as contacts has, and of another kind."""
    made: tuple[Cells, ...] = tuple(
        (f"B{n}", "2020", str(n), str(n * 3), "t", "") for n in range(rows)
    )
    return Table("other", ("berth", "year", "arrivals", "departures", "unit", "remark"), made)
