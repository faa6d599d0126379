"""The records of a block in which nothing is odd, kept as columns: without a list for every row.

Most blocks of most files are like that, and most of what is done with them is done to columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, repeat
from typing import TypeAlias, overload

from typing_extensions import override

from app.tabular.grammar import Grammar

_LEAST_WIDTH = 2


class Regular(Sequence[list[str]]):
    """Records of one width, none of them blank; each is made when it is asked for. Never changes."""

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[str]]) -> None:
        self.columns = columns

    @property
    def width(self) -> int:
        """Cells of each record."""
        return len(self.columns)

    @override
    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> "Regular": ...
    @override
    def __getitem__(self, at: int | slice) -> "list[str] | Regular":
        if isinstance(at, slice):
            return Regular([column[at] for column in self.columns])
        return [column[at] for column in self.columns]

    @override
    def __iter__(self) -> Iterator[list[str]]:
        return map(list, zip(*self.columns, strict=True))

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


Records: TypeAlias = Sequence[list[str]]
"""A list of them, with blank ones as empty lists, or the columns of regular ones."""


def read_regular(text: str, grammar: Grammar, width: int) -> Regular | None:
    """The records of whole lines, if each is one record of that width, without quotes or anything else that
    needs a closer look; None says nothing but that it does.
    """
    if width < _LEAST_WIDTH or not _is_plain(text, grammar):
        return None
    if "\r" in text:
        if text.count("\r") != text.count("\r\n"):
            return None
        text = text.replace("\r\n", "\n")
    if not text.endswith("\n"):
        text += "\n"
    pieces = text.split(grammar.delimiter)
    step = width - 1
    # Each of these is the last cell of a record, a line end, and the first cell of the next record.
    across = pieces[step::step]
    records = text.count("\n")
    if len(pieces) != records * step + 1 or set(map(str.count, across, repeat("\n"))) != {1}:
        return None
    first_and_last = "\n".join((pieces[0], *across)).split("\n")
    return Regular(
        [
            first_and_last[:-1:2],
            *(pieces[place::step] for place in range(1, step)),
            first_and_last[1:-1:2],
        ]
    )


def _is_plain(text: str, grammar: Grammar) -> bool:
    if not text or not grammar.direct or grammar.skip_space or grammar.wrapping or "\0" in text:
        return False
    return not any(mark and mark in text for mark in (grammar.quote, grammar.escape))


def columns_of(records: Records) -> Sequence[Sequence[str]]:
    """Every column of records that all have the same width."""
    if isinstance(records, Regular):
        return records.columns
    return list(zip(*records, strict=True))


def column_of(records: Records, index: int) -> Sequence[str]:
    """One column of records that are all wide enough."""
    if isinstance(records, Regular):
        return records.columns[index]
    return [record[index] for record in records]


def have_width(records: Sequence[Sequence[str]], width: int) -> bool:
    """Whether all have it, and there is one at least."""
    if isinstance(records, Regular):
        return records.width == width and len(records) > 0
    return set(map(len, records)) == {width}


def filled(records: Records) -> int:
    """How many aren't blank."""
    return len(records) if isinstance(records, Regular) else sum(map(bool, records))


def only(records: Records, wanted: Sequence[bool]) -> Records:
    """The wanted ones."""
    if isinstance(records, Regular):
        return Regular([list(compress(column, wanted)) for column in records.columns])
    return list(compress(records, wanted))


def joined(parts: Iterable[Records]) -> Records:
    """All of them, in order."""
    runs = list(parts)
    regular = [run for run in runs if isinstance(run, Regular)]
    if len(regular) == len(runs) > 0 and len({run.width for run in regular}) == 1:
        together = zip(*(run.columns for run in regular), strict=True)
        return Regular([list(chain.from_iterable(columns)) for columns in together])
    return list(chain.from_iterable(runs))
