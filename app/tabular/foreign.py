"""Records that are well formed, but written in another manner than their file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.tabular.grammar import Grammar, without_end

_DELIMITERS = (",", ";", "\t", "|", ":", " ", "^", "~")
_QUOTES = ('"', "'")
_MIN_WIDTH = 3
"""Of narrower tables any text with a comma or two would be a row."""

Fits = Callable[[list[str]], bool]
"""Whether the cells have the kinds of values that their columns have."""


def anything(cells: list[str]) -> bool:
    """Where nothing is known of the columns."""
    return bool(cells)


@dataclass(frozen=True, slots=True)
class Reread:
    """The cells, how many lines they took, and whether they make a record of the file's width."""

    cells: list[str]
    lines: int
    sound: bool


def reread_ragged(grammar: Grammar, line: str, cells: list[str], width: int, fits: Fits) -> Reread:
    """A record that is well formed and has another width: was it written in another manner?"""
    line = without_end(line)
    if width == 1 and grammar.quote not in (*line, None):
        return Reread([line], 1, sound=True)
    for other in _ragged_readings(grammar, line, cells, width):
        if other is not None and len(other) == width and fits(other):
            return Reread(other, 1, sound=True)
    return Reread(cells, 1, sound=False)


def _ragged_readings(
    grammar: Grammar, line: str, cells: list[str], width: int
) -> Iterator[list[str] | None]:
    if width < 2:  # noqa: PLR2004
        return
    if cells and not any(cells[1:]) and grammar.delimiter in cells[0]:
        yield grammar.read_one(cells[0])  # the whole row was quoted as one cell
    yield from foreign_readings(grammar, line, width)
    if grammar.quote and not grammar.skip_space and f" {grammar.quote}" in line:
        yield grammar.but(skip_space=True).read_one(line)


def foreign_readings(grammar: Grammar, line: str, width: int) -> Iterator[list[str] | None]:
    """The line as if another program had written it: with another quote, delimiter or both."""
    others = [each for each in _QUOTES if each != grammar.quote and each in line]
    for quote in others:
        if _wraps(quote, grammar.delimiter, line):
            yield grammar.but(quote=quote, doubled=True).read_one(line)
    if width < _MIN_WIDTH:
        return
    for delimiter in _DELIMITERS:
        if delimiter == grammar.delimiter or line.count(delimiter) < width - 1:
            continue
        other = grammar.but(delimiter=delimiter, skip_space=False)
        yield other.read_one(line)
        yield from (other.but(quote=each).read_one(line) for each in others)
        if delimiter != " ":
            yield other.but(skip_space=True).read_one(line)


def _wraps(quote: str, delimiter: str, line: str) -> bool:
    """Whether a cell of the line could be quoted so: the quote stands at a cell's edge on both sides."""
    opens = line.startswith(quote) or delimiter + quote in line
    return opens and (line.endswith(quote) or quote + delimiter in line)
