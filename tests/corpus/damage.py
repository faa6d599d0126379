"""One broken row in a sound file: what it is, and that its neighbours are none the worse for it."""

from collections.abc import Iterator
from dataclasses import replace

from tests.corpus.case import Case, Cells, Reading, Table, seeded
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.tables import contacts, orders, organogram, products, sensors, spending

QUOTED = Dialect(quoting="all")
TABS = Dialect(delimiter="\t", line_end="\r\n")
DIALECTS = (COMMA, SEMICOLON, QUOTED)
MAKERS = (orders, contacts, spending, organogram)


def cases() -> Iterator[Case]:
    yield from _ragged()
    yield from _stray_quotes()
    yield from _text_after_quotes()
    yield from _unclosed()
    yield from _other_delimiter()
    yield from _other_quote()
    yield from _whole_row_quoted()
    yield from _nul_bytes()
    yield from _split_rows()


def _positions(table: Table) -> dict[str, int]:
    return {"first": 0, "middle": len(table.rows) // 2, "last": len(table.rows) - 1}


def _with(
    kind: str,
    name: str,
    table: Table,
    dialect: Dialect,
    row: int,
    line: str,
    best: Cells,
    *others: Cells,
    optional: bool = False,
) -> Case:
    """The file in which that row's line is this one."""
    lines = dialect.lines((table.header, *table.rows))
    lines[row + 1] = line
    records = (*table.rows[:row], best, *table.rows[row + 1 :])
    reading = Reading(
        header=table.header,
        records=records,
        damaged={row: others},
        optional=frozenset({row} if optional else ()),
    )
    return Case(kind=kind, name=name, data=dialect.join(lines), readings=(reading,))


def _ragged() -> Iterator[Case]:
    for make in MAKERS:
        table = make(20)
        for where, row in _positions(table).items():
            cells = table.rows[row]
            ways: dict[str, Cells] = {
                "one-fewer": cells[:-1],
                "few": cells[:2],
                "one": cells[:1],
                "one-more": (*cells, "extra"),
                "three-more": (*cells, "x", "y", "9"),
                "empty-more": (*cells, "", ""),
                "gap": (*cells[:2], "inserted", *cells[2:]),
            }
            for word, made in ways.items():
                for dialect in (COMMA, TABS):
                    name = f"{word}-{where}-{table.name}-{dialect.delimiter.encode().hex()}"
                    line = dialect.line(made)
                    # A single cell at the end may be taken for a note.
                    note = word == "one" and where == "last"
                    yield _with("ragged rows", name, table, dialect, row, line, made, optional=note)
    yield from _many_ragged()
    yield from _half_ragged()


def _half_ragged() -> Iterator[Case]:
    """Every other row is short, or long."""
    for make in (contacts, spending, sensors):
        table = make(60)
        for word in ("short", "long"):
            rows = tuple(
                row if n % 2 else ((*row, "more") if word == "long" else row[:-1])
                for n, row in enumerate(table.rows)
            )
            made = replace(table, rows=rows)
            damaged: dict[int, tuple[Cells, ...]] = dict.fromkeys(range(0, 60, 2), ())
            reading = Reading(header=table.header, records=rows, damaged=damaged)
            for dialect in (COMMA, SEMICOLON):
                yield Case(
                    kind="ragged rows",
                    name=f"half-{word}-{table.name}-{dialect.delimiter.encode().hex()}",
                    data=dialect.file(made),
                    readings=(reading,),
                )


def _many_ragged() -> Iterator[Case]:
    """Every fifth row is short or long."""
    for make in (contacts, sensors):
        table = make(50)
        rows = list(table.rows)
        for row in range(4, 50, 5):
            rows[row] = rows[row][:-1] if row % 2 else (*rows[row], "more")
        made = replace(table, rows=tuple(rows))
        reading = Reading(
            header=table.header,
            records=made.rows,
            damaged=dict.fromkeys(range(4, 50, 5), ()),
        )
        yield Case(
            kind="ragged rows",
            name=f"many-{table.name}",
            data=SEMICOLON.file(made),
            readings=(reading,),
        )


def _word_column(table: Table) -> int:
    """A text column in the middle of the row."""
    return {"orders": 2, "contacts": 2, "spending": 4, "organogram": 3}[table.name]


def _stray_quotes() -> Iterator[Case]:
    for make in MAKERS:
        for dialect in DIALECTS:
            table = make(24)
            for where, row in _positions(table).items():
                column = _word_column(table)
                text = "Harbour wall"
                table = _set(table, row, column, text)
                quoted = dialect.quoting == "all"
                for at, spoilt in {
                    "begin": '"Harbour wall',
                    "middle": 'Harbour" wall',
                    "two": 'Harbour "East" wall',
                    "end": 'Harbour wall"',
                }.items():
                    cells = [dialect.cell(cell) for cell in table.rows[row]]
                    cells[column] = f'"{spoilt}"' if quoted else spoilt
                    best = _replaced(table.rows[row], column, spoilt)
                    lenient = spoilt.replace('"', "", 1) + ('"' if quoted else "")
                    others = (
                        _replaced(best, column, spoilt.replace('"', "")),
                        _replaced(best, column, lenient),
                    )
                    name = f"{at}-{where}-{table.name}-{_word(dialect)}"
                    line = dialect.delimiter.join(cells)
                    yield _with("stray quotes", name, table, dialect, row, line, best, *others)


def _word(dialect: Dialect) -> str:
    return f"{dialect.delimiter.encode().hex()}-{dialect.quoting}"


def _set(table: Table, row: int, column: int, text: str) -> Table:
    rows = list(table.rows)
    rows[row] = _replaced(rows[row], column, text)
    return replace(table, rows=tuple(rows))


def _replaced(cells: Cells, column: int, text: str) -> Cells:
    return (*cells[:column], text, *cells[column + 1 :])


def _text_after_quotes() -> Iterator[Case]:
    for make in (orders, contacts):
        table = make(24)
        column = _word_column(table)
        for where, row in _positions(table).items():
            for dialect in DIALECTS:
                cells = [dialect.cell(cell) for cell in table.rows[row]]
                cells[column] = '"East" wall'
                best = _replaced(table.rows[row], column, '"East" wall')
                other = _replaced(table.rows[row], column, "East wall")
                name = f"text-after-{where}-{table.name}-{_word(dialect)}"
                line = dialect.delimiter.join(cells)
                yield _with("stray quotes", name, table, dialect, row, line, best, other)
                cells[column] = '"East wall"  '
                best = _replaced(table.rows[row], column, "East wall")
                others = tuple(
                    _replaced(best, column, text) for text in ("East wall  ", '"East wall"  ')
                )
                name = f"space-after-{where}-{table.name}-{_word(dialect)}"
                line = dialect.delimiter.join(cells)
                yield _with("stray quotes", name, table, dialect, row, line, best, *others)


def _unclosed() -> Iterator[Case]:
    for make in MAKERS:
        for dialect in DIALECTS:
            table = make(24)
            for where, row in _positions(table).items():
                for column in (0, _word_column(table), table.width - 1):
                    table = _set(table, row, column, "Harbour wall")
                    cells = [dialect.cell(cell) for cell in table.rows[row]]
                    cells[column] = '"Harbour wall'
                    best = table.rows[row]
                    other = _replaced(best, column, '"Harbour wall')
                    name = f"{where}-{column}-{table.name}-{_word(dialect)}"
                    line = dialect.delimiter.join(cells)
                    yield _with("unclosed quote", name, table, dialect, row, line, best, other)


def _other_delimiter() -> Iterator[Case]:
    for make in (orders, spending, products, contacts):
        table = make(20)
        for dialect, other in (
            (COMMA, ";"),
            (SEMICOLON, ","),
            (COMMA, "\t"),
            (TABS, ","),
            (COMMA, "|"),
        ):
            for where, row in _positions(table).items():
                cells = tuple(
                    cell.translate({44: None, 59: None, 34: None}) for cell in table.rows[row]
                )
                line = other.join(cells)
                name = f"delimiter-{where}-{table.name}-{dialect.delimiter.encode().hex()}-{other.encode().hex()}"
                yield _with("foreign row", name, table, dialect, row, line, cells)


def _other_quote() -> Iterator[Case]:
    for make in (orders, spending):
        table = make(20)
        column = 2 if make is orders else 4
        for dialect in DIALECTS:
            for where, row in _positions(table).items():
                table = _set(table, row, column, "Pier, east")
                cells = [dialect.cell(cell) for cell in table.rows[row]]
                cells[column] = "'Pier, east'" if dialect.delimiter == "," else "'Pier; east'"
                best = _replaced(table.rows[row], column, cells[column].strip("'"))
                split = dialect.delimiter.join(cells)
                name = f"quote-{where}-{table.name}-{_word(dialect)}"
                yield _with("foreign row", name, table, dialect, row, split, best)


def _whole_row_quoted() -> Iterator[Case]:
    for make in (*MAKERS, products):
        table = make(20)
        for dialect in (COMMA, SEMICOLON):
            for where, row in _positions(table).items():
                best = tuple(cell.replace("\n", " ") for cell in table.rows[row])
                inner = dialect.line(best).replace('"', '""')
                name = f"whole-{where}-{table.name}-{_word(dialect)}"
                yield _with("foreign row", name, table, dialect, row, f'"{inner}"', best)


def _nul_bytes() -> Iterator[Case]:
    for make in (contacts, orders, sensors):
        table = make(20)
        for dialect in (COMMA, QUOTED, TABS):
            for where, row in _positions(table).items():
                raw = _replaced(
                    table.rows[row], 1, table.rows[row][1][:2] + "\0" + table.rows[row][1][2:]
                )
                line = dialect.line(raw)
                name = f"{where}-{table.name}-{_word(dialect)}"
                best = table.rows[row]
                kept = (raw, _replaced(raw, 1, raw[1].replace("\0", " ")))
                yield _with("NUL bytes", name, table, dialect, row, line, best, *kept)
    table = contacts(10)
    data = COMMA.file(table)
    padded = data + b"\0" * 512
    reading = Reading(header=table.header, records=table.rows)
    yield Case(kind="NUL bytes", name="padding", data=padded, readings=(reading,))


def _split_rows() -> Iterator[Case]:
    """A line break in a cell without quotes: two broken rows, and neither takes a neighbour along."""
    for make in (contacts, spending):
        table = make(20)
        rng = seeded("split", table.name)
        for where in ("first", "middle", "last"):
            row = _positions(table)[where]
            lines = COMMA.lines((table.header, *table.rows))
            column = rng.randrange(1, table.width - 1)
            halves = table.rows[row][:column], table.rows[row][column:]
            lines[row + 1 : row + 2] = [COMMA.line(half) for half in halves]
            records = (*table.rows[:row], *halves, *table.rows[row + 1 :])
            reading = Reading(
                header=table.header,
                records=records,
                damaged={row: (table.rows[row],), row + 1: ()},
            )
            yield Case(
                kind="ragged rows",
                name=f"split-{where}-{table.name}",
                data=COMMA.join(lines),
                readings=(reading,),
            )
