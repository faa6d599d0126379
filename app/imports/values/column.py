"""A column of cells on its way to a field: what every type of field promises.

A type works on a whole column of a batch with calls that run in C, and looks at single values only where
the quick check refuses: a row may cost a few microseconds.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict

from app.tabular.spreadsheet import unguarded

MAX_SHOWN_CHARS = 60


def _known_region(region: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    code = region.upper()
    if code not in SUPPORTED_REGIONS:
        raise ValueError("phone_region is a country's code of two letters, such as GB")
    return code


Region = Annotated[str, AfterValidator(_known_region)]
"""A country whose phone numbers are known, by its code in ISO 3166."""


class ValueOptions(BaseModel):
    """How values are written, where they could be read in two ways. What is set is held strictly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    decimal: Literal[".", ","] | None = None
    phone_region: Region | None = None
    short_rows: Literal["reject", "pad"] = "reject"


class Fault(NamedTuple):
    """What is wrong with a value: a stable code, and a sentence that says what would be right."""

    code: str
    message: str


@dataclass(slots=True)
class Parsed:
    """`values` as COPY takes them, "" where the cell says nothing or is at fault."""

    values: list[str]
    faults: dict[int, Fault] = field(default_factory=dict)


_UNSEEN = (
    *map(chr, range(0x200B, 0x2010)),  # spaces and joiners of no width, marks of direction
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x206A)),
    "\N{ZERO WIDTH NO-BREAK SPACE}",
    "\N{SOFT HYPHEN}",
)
_AROUND = "".join((*_UNSEEN, *filter(str.isspace, map(chr, range(0x3001)))))
_NULL = "\\N"
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2}")
_AS_TEXT = re.compile(r'="((?:[^"]|"")*)"')
_QUOTED_NUMBER = re.compile(r"'[+]?[0-9][0-9 ./()-]*")


class Column:
    r"""What cells say; `whole` is all of them in one, for checks at C speed.

    That is without the white space around them and what nobody can see there, and without what spreadsheets are
    told by: a quote that keeps them from a formula, a quote before a number or `="..."` that make it a text. The
    `\N` of databases says nothing.
    """

    __slots__ = ("cells", "whole")

    def __init__(self, cells: Sequence[str]) -> None:
        self.cells = list(map(str.strip, cells))
        self.whole = "".join(self.cells)
        if self._may_be_dressed():
            self.cells = list(map(_bare, self.cells))
            self.whole = "".join(self.cells)

    def _may_be_dressed(self) -> bool:
        whole = self.whole
        if ("\\" in whole and _NULL in whole) or ("=" in whole and '="' in whole):
            return True
        if "'" in whole and any(cell[:1] == "'" for cell in self.cells):
            return True
        return not whole.isascii() and any(mark in whole for mark in _UNSEEN)

    def lines(self) -> str:
        """A cell a line, for expressions that take a column at a time."""
        return "\n".join(self.cells)

    def one_line_each(self) -> bool:
        """Whether `lines` can be taken apart again."""
        return "\n" not in self.whole


def _bare(cell: str) -> str:
    cell = unguarded(cell.strip(_AROUND))
    if cell == _NULL:
        return ""
    if found := _AS_TEXT.fullmatch(cell):
        return found[1].replace('""', '"').strip(_AROUND)
    return cell[1:] if _QUOTED_NUMBER.fullmatch(cell) else cell


class FieldType(ABC):
    """What a field's values must look like, and how they are written in the database."""

    name: ClassVar[str]
    """As the API names it."""
    sql: str = "text"
    """The type of the field's database column. Whatever `parse` lets through can be cast to it."""
    max_chars: int = 1000
    certain_cells: int = 3

    @abstractmethod
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        """Every cell as the database takes it, or its fault. A pure function of cell and options."""

    def looks_like(self, cell: str) -> bool | None:  # noqa: ARG002
        """Whether a cell, by itself, speaks for this type; None where no cell could."""
        return None

    def share(self, cells: Sequence[str]) -> float | None:
        """How many of a sample's cells, from 0 to 1, look like this type; None where that says nothing."""
        if not cells or self.looks_like("") is None:
            return None
        return sum(self.looks_like(cell) is True for cell in cells) / len(cells)

    def enough(self, cells: Sequence[str]) -> bool:
        """Whether so many cells that look like it make the type certain, whatever the column is called."""
        return len(cells) >= self.certain_cells

    def evidence(self, cells: Sequence[str]) -> set[tuple[str, str]]:  # noqa: ARG002
        """Which option's value these cells can't be read without: (option, value)."""
        return set()


def rounded(cell: str) -> Fault | None:
    """What is wrong with digits that a spreadsheet took for a number and shortened, such as 4.91512E+12."""
    if _ROUNDED.fullmatch(cell) is None:
        return None
    message = (
        f"{shown(cell)} is a number that a spreadsheet has shortened: its digits are lost. "
        "Make the column text there, and export it again."
    )
    return Fault("shortened_number", message)


def shown(value: str) -> str:
    """The value as a message may quote it: one line, short, and only what the database can hold."""
    plain = value if len(value) <= MAX_SHOWN_CHARS else f"{value[:MAX_SHOWN_CHARS]}…"
    if not plain.isprintable():
        plain = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in plain)
    return f"'{plain}'"
