"""Several oddities in one file, thrown together by dice: another seed gives files nobody has tuned for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.corpus.case import Case, Cells, Reading, Table, seeded
from tests.corpus.dialect import Dialect
from tests.corpus.structure import NOTES, TITLES
from tests.corpus.tables import (
    contacts,
    decimals,
    events,
    letters,
    orders,
    organogram,
    products,
    sensors,
    spending,
)

MAKERS = (orders, contacts, spending, organogram, products, events, letters, decimals, sensors)
ENCODINGS = (
    *(("utf-8", b""),) * 4,
    ("utf-8", b"\xef\xbb\xbf"),
    ("cp1252", b""),
    ("utf-16-le", b"\xff\xfe"),
)
WALL = "Harbour wall"
COUNT = 120


def cases(seed: str = "", count: int = COUNT) -> Iterator[Case]:
    """So many files; the same for the same seed."""
    for number in range(count):
        rng = seeded("combined", seed, number)
        yield _Draft.thrown(rng).case(f"{seed}{number:03}", rng)


@dataclass(slots=True)
class _Draft:
    """A file while oddities are put into it."""

    table: Table
    dialect: Dialect
    lines: list[str]
    """Of the rows; the header's is made at the end."""
    records: list[Cells]
    damaged: dict[int, tuple[Cells, ...]] = field(default_factory=dict)

    @classmethod
    def thrown(cls, rng: Random) -> "_Draft":
        table = rng.choice(MAKERS)(rng.choice((6, 15, 40, 110)))
        encoding, mark = rng.choice(ENCODINGS)
        dialect = Dialect(
            delimiter=rng.choice((",", ",", ",", ";", ";", "\t", "|")),
            quoting=rng.choice(("minimal", "minimal", "all", "text")),
            line_end=rng.choice(("\n", "\n", "\r\n", "\r\n", "\r")),
            final_line_end=rng.random() < 0.8,
            encoding=encoding,
            mark=mark,
        )
        return cls(table, dialect, dialect.lines(table.rows), list(table.rows))

    def case(self, name: str, rng: Random) -> Case:
        for row in rng.sample(range(len(self.records)), rng.choice((0, 0, 1, 1, 2))):
            rng.choice(DAMAGE)(self, row)
        lines = [self.dialect.line(self.table.header), *self.lines]
        if rng.random() < 0.2:
            lines = [line + self.dialect.delimiter for line in lines]
        lines = [*self._titles(rng), *lines, *self._notes(rng)]
        if rng.random() < 0.2:
            lines += [""] * rng.choice((1, 3))
        reading = Reading(
            header=self.table.header, records=tuple(self.records), damaged=self.damaged
        )
        data = self.dialect.join(lines)
        return Case(kind="combined", name=name, data=data, readings=(reading,))

    def _titles(self, rng: Random) -> list[str]:
        return self._texts(rng, rng.choice(TITLES)) if rng.random() < 0.3 else []

    def _notes(self, rng: Random) -> list[str]:
        return self._texts(rng, rng.choice(NOTES)) if rng.random() < 0.25 else []

    def _texts(self, rng: Random, texts: tuple[str, ...]) -> list[str]:
        pad = self.dialect.delimiter * (self.table.width - 1) if rng.random() < 0.5 else ""
        return [text.replace(self.dialect.delimiter, " ") + pad for text in texts]

    def put(self, row: int, line: str, best: Cells, *others: Cells) -> None:
        self.lines[row] = line
        self.records[row] = best
        self.damaged[row] = others


def _fewer(draft: _Draft, row: int) -> None:
    cells = draft.records[row][:-1]
    draft.put(row, draft.dialect.line(cells), cells)


def _more(draft: _Draft, row: int) -> None:
    cells = (*draft.records[row], "more")
    draft.put(row, draft.dialect.line(cells), cells)


def _stray(draft: _Draft, row: int) -> None:
    """A quote in the middle of a cell."""
    column = 1 if draft.table.width < 6 else 3
    text = WALL.replace(" ", '" ')
    best = _replaced(draft.records[row], column, text)
    spoilt = f'"{text}"' if draft.dialect.quoting != "minimal" else text
    others = tuple(_replaced(best, column, other) for other in (WALL, f'{WALL}"'))
    draft.put(row, _line(draft, row, column, spoilt), best, *others)


def _unclosed(draft: _Draft, row: int) -> None:
    column = draft.table.width - 2
    best = _replaced(draft.records[row], column, WALL)
    other = _replaced(best, column, f'"{WALL}')
    draft.put(row, _line(draft, row, column, f'"{WALL}'), best, other)


def _replaced(cells: Cells, column: int, text: str) -> Cells:
    return (*cells[:column], text, *cells[column + 1 :])


def _line(draft: _Draft, row: int, column: int, raw: str) -> str:
    cells = [draft.dialect.cell(cell) for cell in draft.records[row]]
    cells[column] = raw
    return draft.dialect.delimiter.join(cells)


DAMAGE: tuple[Callable[[_Draft, int], None], ...] = (_fewer, _more, _stray, _unclosed)
