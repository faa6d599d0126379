"""Records that are well formed, but written in another manner than their file."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.tabular.grammar import Grammar, without_end
from app.tabular.kinds import TYPED, kind

_DELIMITERS = (",", ";", "\t", "|", ":", " ", "^", "~")
_QUOTES = ('"', "'")
_MAX_LINES = 20
_MASK = "\ufdce"
_MIN_WIDTH = 3
"""Of narrower tables any text with a comma or two would be a row."""

Fits = Callable[[list[str]], bool]
"""Whether the cells have the kinds of values that their columns have."""


def anything(cells: list[str]) -> bool:
    """Where nothing is known of the columns."""
    return bool(cells)


def nothing(cells: list[str]) -> bool:
    """Where no other manner is to be tried."""
    return not cells


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


def across_quotes(quote: str, lines: Sequence[str], at: int) -> tuple[str, int]:
    """The lines from one on up to where its quotes are even in number, and how many they are."""
    text, marks = "", 0
    for index in range(at, min(at + _MAX_LINES, len(lines))):
        text += lines[index]
        marks += lines[index].count(quote)
        if marks % 2 == 0:
            return text, index + 1 - at
    return lines[at], 1


def foreign_readings(grammar: Grammar, line: str, width: int) -> Iterator[list[str] | None]:
    """The line as if another program had written it: with another quote, delimiter or both."""
    others = [each for each in _QUOTES if each != grammar.quote and each in line]
    for quote in others:
        if _wraps(quote, grammar.delimiter, line):
            yield grammar.but(quote=quote, doubled=True).read_one(line)
            yield _with_both_quotes(grammar, line, quote)
    if width < _MIN_WIDTH:
        return
    for delimiter in _DELIMITERS:
        if delimiter == grammar.delimiter or line.count(delimiter) < width - 1:
            continue
        if delimiter == " " and not _has_values(line):
            continue
        other = grammar.but(delimiter=delimiter, skip_space=False)
        yield other.read_one(line)
        yield from (other.but(quote=each).read_one(line) for each in others)
        if delimiter != " ":
            yield other.but(skip_space=True).read_one(line)


def _with_both_quotes(grammar: Grammar, line: str, other: str) -> list[str] | None:
    """Some cells in the file's quotes, some in the other ones, in which delimiters are text."""
    mark, edge = re.escape(other), re.escape(grammar.delimiter)
    cell = f"(?:(?<={edge})|^){mark}([^{mark}]*){mark}(?={edge}|$)"
    masked = re.sub(cell, lambda found: found[1].replace(grammar.delimiter, _MASK), line)
    cells = grammar.read_one(masked)
    return None if cells is None else [each.replace(_MASK, grammar.delimiter) for each in cells]


def _has_values(line: str) -> bool:
    """Whether some of its words are values: else the line is prose."""
    return any(kind(word.strip("\"'")) in TYPED for word in line.split())


def _wraps(quote: str, delimiter: str, line: str) -> bool:
    """Whether a cell of the line could be quoted so: the quote stands at a cell's edge on both sides."""
    opens = line.startswith(quote) or delimiter + quote in line
    return opens and (line.endswith(quote) or quote + delimiter in line)
