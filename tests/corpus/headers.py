"""No header, several header rows, nothing but a header, odd names."""

from collections.abc import Iterator
from dataclasses import replace

from tests.corpus.case import Case, Cells, Reading, Table, seeded, whole
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.tables import (
    contacts,
    decimals,
    events,
    mails,
    orders,
    organogram,
    pairs,
    products,
    sensors,
    spending,
)

DIALECTS = (COMMA, SEMICOLON, Dialect(delimiter="\t", line_end="\r\n"), Dialect(quoting="all"))


def cases() -> Iterator[Case]:
    yield from _headless()
    yield from _header_only()
    yield from _grouped()
    yield from _line_breaks()
    yield from _names()
    yield from _trailing_columns()


def _headless() -> Iterator[Case]:
    """Only tables whose columns have a type or a pattern, so that the first row shows what it is."""
    makers = (orders, contacts, spending, sensors, products, events, mails, decimals, organogram)
    for number, make in enumerate(makers):
        for rows in (2, 30, 120):
            if rows == 2 and make not in (contacts, sensors, orders, mails):
                continue
            table = make(rows)
            dialect = DIALECTS[(number + rows) % len(DIALECTS)]
            data = dialect.join(dialect.lines(table.rows))
            reading = Reading(header=None, records=table.rows)
            name = f"{table.name}-{rows}"
            yield Case(kind="no header", name=name, data=data, readings=(reading,))


def _header_only() -> Iterator[Case]:
    for make in (orders, contacts, spending, organogram, pairs):
        for dialect in DIALECTS:
            table = replace(make(1), rows=())
            quoted = "-quoted" if dialect.quoting == "all" else ""
            name = f"{table.name}-{dialect.delimiter.encode().hex()}{quoted}"
            yield Case(
                kind="header only", name=name, data=dialect.file(table), readings=(whole(table),)
            )


def _statistics(rows: int, groups: tuple[str, ...], parts: tuple[str, ...]) -> Table:
    rng = seeded("statistics", rows, len(groups))
    header = ("Region", *(f"{group} {part}" for group in groups for part in parts))
    made = tuple(
        (f"District {number}", *(str(rng.randrange(5_000)) for _ in header[1:]))
        for number in range(1, rows + 1)
    )
    return Table("statistics", header, made)


def _spread(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    """As a spreadsheet exports merged cells: the text, then blanks."""
    return tuple(text for cell in cells for text in (cell, *("",) * (width - 1)))


def _unspread(groups: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    """The names where a group's text is taken to stand above its first column alone."""
    return tuple(
        f"{group} {part}" if n == 0 else part for group in groups for n, part in enumerate(parts)
    )


def _grouped() -> Iterator[Case]:
    years = ("2017", "2018", "2019")
    staff = ("Payroll staff", "Agency staff", "Grand Total")
    part_sets = (("Men", "Women"), ("Headcount", "Full-time equivalent"), ("Q1", "Q2", "Q3", "Q4"))
    for groups, word in ((staff, "staff"), (years, "years")):
        for number, parts in enumerate(part_sets):
            table = _statistics(20, groups, parts)
            for dialect in (COMMA, SEMICOLON):
                top = ("", *_spread(groups, len(parts)))
                name = f"{word}-{number}-{dialect.delimiter.encode().hex()}"
                for corner in ("top", "bottom"):
                    yield _two_rows(f"{name}-{corner}", table, dialect, top, parts, corner)
    yield from _three_rows()
    yield from _units()


def _two_rows(
    name: str, table: Table, dialect: Dialect, top: Cells, parts: tuple[str, ...], corner: str
) -> Case:
    groups = tuple(cell for cell in top if cell)
    first = ("Region" if corner == "top" else "", *top[1:])
    second = ("" if corner == "top" else "Region", *(parts * len(groups)))
    data = dialect.join(dialect.lines((first, second, *table.rows)))
    other = ("Region", *_unspread(groups, parts))
    reading = Reading(header=table.header, records=table.rows, other_headers=(other,))
    return Case(kind="several header rows", name=name, data=data, readings=(reading,))


def _three_rows() -> Iterator[Case]:
    groups, parts, units = ("North", "South"), ("Men", "Women"), ("number", "per cent")
    header = tuple(f"{g} {p} {u}" for g in groups for p in parts for u in units)
    rng = seeded("three")
    rows = tuple((f"Ward {n}", *(str(rng.randrange(900)) for _ in header)) for n in range(1, 25))
    lines = (
        ("Area", *_spread(groups, 4)),
        ("", *(_spread(parts, 2) * 2)),
        ("", *(units * 4)),
        *rows,
    )
    unspread = (
        *("North Men number", "per cent", "Women number", "per cent"),
        *("South Men number", "per cent", "Women number", "per cent"),
    )
    for dialect in (COMMA, SEMICOLON, DIALECTS[2]):
        reading = Reading(
            header=("Area", *header), records=rows, other_headers=(("Area", *unspread),)
        )
        yield Case(
            kind="several header rows",
            name=f"three-{dialect.delimiter.encode().hex()}",
            data=dialect.join(dialect.lines(lines)),
            readings=(reading,),
        )


def _units() -> Iterator[Case]:
    """A second header row without blanks: the units of the columns."""
    table = sensors(40)
    units = ("(s)", "(°C)", "(%)", "(hPa)", "(V)")
    header = tuple(f"{name} {unit}" for name, unit in zip(table.header, units, strict=True))
    for dialect in (COMMA, DIALECTS[2]):
        data = dialect.join(dialect.lines((table.header, units, *table.rows)))
        reading = Reading(header=header, records=table.rows, other_headers=(table.header,))
        yield Case(
            kind="several header rows",
            name=f"units-{dialect.delimiter.encode().hex()}",
            data=data,
            readings=(reading,),
        )


def _line_breaks() -> Iterator[Case]:
    for make in (orders, contacts, spending, sensors):
        for number, dialect in enumerate(DIALECTS):
            table = make(16)
            names = tuple(f"{name}\n(column {n})" for n, name in enumerate(table.header))
            names = (f'{table.header[0]},\n\nas "given"', *names[1:-1], table.header[-1])
            made = replace(table, header=names)
            yield Case(
                kind="header cells",
                name=f"line-breaks-{table.name}-{number}",
                data=dialect.file(made),
                readings=(whole(made),),
            )


def _names() -> Iterator[Case]:
    for make in (orders, contacts, products):
        table = make(20)
        middle = table.width // 2
        ways: dict[str, Cells] = {
            "empty": (*table.header[:middle], "", *table.header[middle + 1 :]),
            "empty-first": ("", *table.header[1:]),
            "empty-several": (table.header[0], *("",) * (table.width - 2), table.header[-1]),
            "duplicate": (*table.header[:-1], table.header[0]),
            "duplicate-several": (*("name",) * (table.width - 1), "id"),
            "spaces": tuple(f" {name} " for name in table.header),
            "numbers": (*table.header[:2], *(str(2015 + n) for n in range(table.width - 2))),
            "odd": tuple(f"{name}: \u20ac (a/b) #{n}" for n, name in enumerate(table.header)),
        }
        for word, names in ways.items():
            made = replace(table, header=names)
            yield Case(
                kind="header cells",
                name=f"{word}-{table.name}",
                data=COMMA.file(made),
                readings=(whole(made),),
            )
    long = replace(products(5), header=("sku", "n" * 10_000, "price", "currency", "stock"))
    yield Case(
        kind="header cells",
        name="long-name",
        data=COMMA.file(long),
        readings=(
            Reading(
                header=long.header,
                records=long.rows,
                other_headers=tuple(
                    ("sku", "n" * k, *long.header[2:])
                    for k in (63, 64, 100, 128, 200, 255, 256, 1000, 1024)
                ),
            ),
        ),
        may_refuse=True,
    )


def _trailing_columns() -> Iterator[Case]:
    for make in (orders, spending, sensors):
        table = make(20)
        for dialect in DIALECTS[:3]:
            lines = dialect.lines((table.header, *table.rows))
            pad = dialect.delimiter
            ways = {
                "one": [line + pad for line in lines],
                "five": [line + pad * 5 for line in lines],
                "data-only": [lines[0], *(line + pad for line in lines[1:])],
                "header-only": [lines[0] + pad, *lines[1:]],
            }
            for word, made in ways.items():
                name = f"{word}-{table.name}-{dialect.delimiter.encode().hex()}"
                yield Case(
                    kind="trailing columns",
                    name=name,
                    data=dialect.join(made),
                    readings=(whole(table),),
                )
