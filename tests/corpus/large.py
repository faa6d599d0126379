"""Damage all over files that no reader takes in one bite: nothing is lost or doubled where one bite ends."""

from collections.abc import Callable, Iterator

from tests.corpus.case import Case, Cells, Reading
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.structure import NOTES
from tests.corpus.tables import contacts

ROWS = 6_000
QUOTED = Dialect(quoting="all", line_end="\r\n")
Spoil = Callable[[Dialect, Cells], tuple[str, Cells, tuple[Cells, ...]]]
"""The line, the cells that it should be read as, and other cells that are accepted."""


def _unclosed(dialect: Dialect, cells: Cells) -> tuple[str, Cells, tuple[Cells, ...]]:
    line = dialect.delimiter.join((*(dialect.cell(cell) for cell in cells[:-1]), f'"{cells[-1]}'))
    return line, cells, ((*cells[:-1], f'"{cells[-1]}'),)


def _inner(dialect: Dialect, cells: Cells) -> tuple[str, Cells, tuple[Cells, ...]]:
    """Quotes within a quoted cell that nobody doubled."""
    best = (*cells[:3], 'The "Old" Mill, east', *cells[4:])
    parts = [*(dialect.cell(cell) for cell in cells[:3]), f'"{best[3]}"']
    parts += [dialect.cell(cell) for cell in cells[4:]]
    return dialect.delimiter.join(parts), best, ()


def _short(dialect: Dialect, cells: Cells) -> tuple[str, Cells, tuple[Cells, ...]]:
    return dialect.line(cells[:3]), cells[:3], ()


def _foreign(_: Dialect, cells: Cells) -> tuple[str, Cells, tuple[Cells, ...]]:
    best = (*cells[:3], "The Mill", *cells[4:])
    return "\t".join(best), best, ()


SPOILS: dict[str, Spoil] = {
    "unclosed": _unclosed,
    "inner-quotes": _inner,
    "short": _short,
    "foreign": _foreign,
}


def cases() -> Iterator[Case]:
    for word, spoil in SPOILS.items():
        for each in (7, 100):
            for name, dialect in (("quoted", QUOTED), ("semicolon", SEMICOLON)):
                yield _case(f"{word}-{each}-{name}", dialect, spoil, each)
    table = contacts(ROWS)
    lines = [*COMMA.lines((table.header, *table.rows)), *NOTES[2]]
    reading = Reading(header=table.header, records=table.rows)
    yield Case(kind="large", name="footer", data=COMMA.join(lines), readings=(reading,))


def _case(name: str, dialect: Dialect, spoil: Spoil, each: int) -> Case:
    table = contacts(ROWS)
    lines = dialect.lines(table.rows)
    records = list(table.rows)
    damaged: dict[int, tuple[Cells, ...]] = {}
    for row in range(each - 1, ROWS, each):
        lines[row], records[row], damaged[row] = spoil(dialect, records[row])
    reading = Reading(header=table.header, records=tuple(records), damaged=damaged)
    data = dialect.join([dialect.line(table.header), *lines])
    return Case(kind="large", name=name, data=data, readings=(reading,))
