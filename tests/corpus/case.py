"""A file and the truth about it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Cells: TypeAlias = tuple[str, ...]
Rows: TypeAlias = Sequence[Cells]


@dataclass(frozen=True, slots=True)
class Table:
    """What someone meant to write down."""

    name: str
    header: Cells
    rows: tuple[Cells, ...]

    @property
    def width(self) -> int:
        return len(self.header)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One right way to read a file."""

    header: Cells | None
    """None where the file has none: names may be made up then."""
    records: tuple[Cells, ...]
    damaged: Mapping[int, tuple[Cells, ...]] = field(default_factory=dict)
    """Records whose cells are in doubt, by index, with other cells that are accepted; marking such a
    record as bad is right too. Whatever is made of it, the others must be intact."""
    optional: frozenset[int] = frozenset()
    """Records that may as well be left out, such as a row of totals."""
    other_headers: tuple[Cells, ...] = ()
    padded: bool = False
    """Cells are filled up with spaces, and bars may stand at the rows' edges: neither makes a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file, which family of oddities it belongs to, and the readings that are right, best first.

    No readings: the file is none that a reader should make a table of.
    """

    kind: str
    name: str
    data: bytes
    readings: tuple[Reading, ...]
    suffix: str = ".csv"
    may_refuse: bool = False

    @property
    def filename(self) -> str:
        return f"{self.kind}-{self.name}{self.suffix}".replace(" ", "-")


def whole(table: Table) -> Reading:
    """Every cell as it was meant."""
    return Reading(header=table.header, records=table.rows)


def seeded(*parts: object) -> random.Random:
    """The same numbers for the same parts, on every machine and in every run."""
    return random.Random(":".join(str(part) for part in parts))  # noqa: S311
