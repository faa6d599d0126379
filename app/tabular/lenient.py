"""Reading a damaged record again: what did the one who wrote it mean?

The csv module has refused the record, or given it another width than the file's, or let its quotes
swallow lines. Here several readings are tried, the likeliest first; the first that gives exactly the
file's width is taken. None of them takes a line that is a proper record by itself.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.tabular.foreign import Fits, Reread, across_quotes, foreign_readings
from app.tabular.grammar import Grammar, without_end

WINDOW_CHARS = 16 * 1024
"""How far a damaged record may reach over the following lines."""
_WINDOW_LINES = 500
_MOST_QUOTES = 40
_COST_OF_A_TRY = 100
_NEAR_LINES = 8
_MASK = "\ufdcf"


@dataclass(slots=True)
class Budget:
    """How many characters may still be looked at in vain: bounds the time that damage can cost."""

    chars: int

    def spend(self, chars: int) -> None:
        """Note that so many were looked at for nothing."""
        self.chars -= chars


def proper_record(
    grammar: Grammar, lines: Sequence[str], at: int, budget: Budget
) -> tuple[list[str], int] | None:
    """The record that begins with this line as the csv module reads it, and its number of lines.

    For grammars that the module reads without help.
    """
    head = without_end(lines[at])
    if grammar.quote is None or grammar.quote not in head:
        cells = grammar.read_one(lines[at])
        return None if cells is None else (cells, 1)
    reader = grammar.reader(_window(lines, at, budget), grammar.delimiter)
    try:
        return next(reader), reader.line_num
    except (csv.Error, StopIteration):
        seen = range(at, min(at + reader.line_num, len(lines)))
        budget.spend(sum(len(lines[index]) for index in seen))
        return None


def swallows(
    grammar: Grammar, lines: Sequence[str], at: int, taken: int, width: int, budget: Budget
) -> bool:
    """Whether a record of several lines has eaten others: the line after its first begins a proper one.

    The last line of a cell with line breaks has the closing quote, and so an odd number of quotes; one
    with an even number was a record of its own.
    """
    quote = grammar.quote
    if quote is None or width < 2 or lines[at + taken - 1].count(quote) % 2:  # noqa: PLR2004
        return False
    return _is_a_record(grammar, lines, at + 1, width, budget)


def reread_damaged(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget, fits: Fits
) -> Reread:
    """A record whose quotes are broken."""
    line = without_end(lines[at])
    shorter = line.removesuffix(grammar.delimiter)
    if shorter != line and _is_a_record(grammar, lines, at + 1, width + 1, budget):
        # The file's rows all end with a delimiter that separates nothing.
        rest = _Joined([shorter + lines[at][len(line) :]], lines, at + 1)
        again = reread_damaged(grammar, rest, 0, width, budget, fits)
        if again.sound:
            return again
    odd = grammar.quote is not None and line.count(grammar.quote) % 2
    one, more = _but_one_quote, _over_lines_undoubled
    order = (one, more) if odd else (more, _alone, one)
    for reading in (_other_escape, _over_lines, *order, _cell_by_cell, _literally):
        found = reading(grammar, lines, at, width, budget)
        if found is not None and len(found[0]) == width:
            return Reread(found[0], found[1], sound=True)
    relaxed = grammar.read_one(line, strict=False)
    if relaxed is not None and len(relaxed) == width:
        return Reread(relaxed, 1, sound=True)
    text, taken = across_quotes(grammar.quote or '"', lines, at)
    for cells in foreign_readings(grammar, without_end(text), width):
        if cells is not None and len(cells) == width and fits(cells):
            return Reread(cells, taken, sound=True)
    return Reread(split_cells(grammar, line), 1, sound=False)


def reread_unbalanced(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> Reread | None:
    """A record of another width with an odd number of quotes, as no proper one has."""
    if not grammar.quote or lines[at].count(grammar.quote) % 2 == 0:
        return None
    found = _but_one_quote(grammar, lines, at, width, budget)
    return None if found is None else Reread(*found, sound=True)


_Found = tuple[list[str], int] | None


def _other_escape(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    """Backslashes that escape quotes in a file that doubles them, and the other way round."""
    del width
    quote = grammar.quote
    if quote is None or "\\" + quote not in lines[at]:
        return None
    escape = None if grammar.escape else "\\"
    return proper_record(grammar.but(escape=escape, doubled=True), lines, at, budget)


def _but_one_quote(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    """One quote is text, all others are as they should be; rather one inside a cell than at its edge."""
    quote = grammar.quote
    if quote is None or budget.chars <= 0:
        return None
    fallback: _Found = None
    for line, place in _quotes_near(grammar, lines, at):
        if budget.chars <= 0:
            break
        budget.spend(_COST_OF_A_TRY)
        first = [lines[at + number] for number in range(line)]
        first.append(_masked(lines[at + line], place))
        found = proper_record(grammar, _Joined(first, lines, at + line + 1), 0, budget)
        if found is None or len(found[0]) != width or found[1] <= line:
            continue
        if found[1] > 1 and _is_a_record(grammar, lines, at + 1, width, budget):
            continue
        reading = [cell.replace(_MASK, quote) for cell in found[0]], found[1]
        if at + found[1] >= len(lines) or _is_a_record(
            grammar, lines, at + found[1], width, budget
        ):
            return reading
        fallback = fallback or reading
    return fallback


def _masked(line: str, place: int) -> str:
    return f"{line[:place]}{_MASK}{line[place + 1 :]}"


class _Joined(Sequence[str]):
    """Some lines, and after them those of a longer list from an index on; nothing is copied."""

    def __init__(self, first: list[str], rest: Sequence[str], at: int) -> None:
        self._first = first
        self._rest = rest
        self._at = at

    def __len__(self) -> int:
        return len(self._first) + max(0, len(self._rest) - self._at)

    def __getitem__(self, index: Any) -> Any:
        if index < len(self._first):
            return self._first[index]
        return self._rest[self._at + index - len(self._first)]


def _is_a_record(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> bool:
    """Whether a record of the file's width begins here, with quotes only around its cells."""
    found = proper_record(grammar, lines, at, budget) if at < len(lines) else None
    if found is None or len(found[0]) != width or width < 2:  # noqa: PLR2004
        return False
    return _has_no_loose_quote(grammar, without_end(lines[at]), may_stay_open=found[1] > 1)


def _has_no_loose_quote(grammar: Grammar, line: str, *, may_stay_open: bool) -> bool:
    """Whether no quote stands in a cell that isn't quoted."""
    quote, at = grammar.quote, 0
    if not quote or quote not in line:
        return True
    while at < len(line):
        found = _quoted_cell(grammar, line, at)
        if found is None:
            text, after = _bare_cell(grammar, line, at)
            if quote in text and not (may_stay_open and text.startswith(quote)):
                return False
        else:
            after = found[1]
        at = after + len(grammar.delimiter)
    return True


def _quotes_near(grammar: Grammar, lines: Sequence[str], at: int) -> list[tuple[int, int]]:
    """Line and place of each quote that may be the wrong one, the likeliest first."""
    places: list[list[tuple[int, int]]] = [[], [], [], []]
    for number in range(min(_NEAR_LINES, len(lines) - at)):
        line = lines[at + number]
        for place in (place for place, each in enumerate(line) if each == grammar.quote):
            edge = _is_at_edge(line, place, grammar.delimiter)
            places[2 * (number > 0) + edge].append((number, place))
        if sum(map(len, places)) > _MOST_QUOTES:
            break
    inside, edges, further_inside, further_edges = places
    return [*inside, *reversed(edges), *reversed(further_edges), *further_inside][:_MOST_QUOTES]


def _is_at_edge(line: str, place: int, delimiter: str) -> bool:
    before, after = line[:place], line[place + 1 :]
    return (
        not before
        or before.endswith(delimiter)
        or after.startswith(delimiter)
        or not without_end(after)
    )


def _over_lines(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    return _Scan(grammar, width, doubled=grammar.doubled).run(lines, at, budget)


def _over_lines_undoubled(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    return _Scan(grammar, width, doubled=False).run(lines, at, budget)


def _alone(grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget) -> _Found:
    """Cell by cell, where the line after it begins another record."""
    scan = _Scan(grammar, width, doubled=grammar.doubled)
    if at + 1 < len(lines) and scan.begins_another(lines, at + 1, budget):
        return _cell_by_cell(grammar, lines, at, width, budget)
    return None


def _cell_by_cell(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    """Each cell for itself: quoted where a closing quote ends a cell of the same line, else literal."""
    del width, budget
    return split_cells(grammar, without_end(lines[at])), 1


def split_cells(grammar: Grammar, line: str) -> list[str]:
    """The cells of one line, whatever its quotes; a quote that closes nothing is text."""
    cells: list[str] = []
    at = 0
    while True:
        while grammar.skip_space and line.startswith(" ", at):
            at += 1
        cell, after = _quoted_cell(grammar, line, at) or _bare_cell(grammar, line, at)
        cells.append(cell)
        if after >= len(line):
            return cells
        at = after + len(grammar.delimiter)
        if at >= len(line):
            return [*cells, ""]


def _quoted_cell(grammar: Grammar, line: str, at: int) -> tuple[str, int] | None:
    quote = grammar.quote
    if not quote or not line.startswith(quote, at):
        return None
    search = at + 1
    while (found := line.find(quote, search)) >= 0:
        after = found + 1
        if grammar.escape and line[found - 1] == grammar.escape and found > at + 1:
            search = after
            continue
        if after == len(line) or line.startswith(grammar.delimiter, after):
            return line[at + 1 : found].replace(quote * 2, quote), after
        search = after + line.startswith(quote, after)
    return None


def _bare_cell(grammar: Grammar, line: str, at: int) -> tuple[str, int]:
    end = line.find(grammar.delimiter, at)
    end = len(line) if end < 0 else end
    return line[at:end], end


def _literally(
    grammar: Grammar, lines: Sequence[str], at: int, width: int, budget: Budget
) -> _Found:
    """Every delimiter counts; a cell loses its quotes where it has one at either end."""
    del width, budget
    return [
        _stripped(cell, grammar.quote) for cell in without_end(lines[at]).split(grammar.delimiter)
    ], 1


def _stripped(cell: str, quote: str | None) -> str:
    if quote and len(cell) > 1 and cell.startswith(quote) and cell.endswith(quote):
        return cell[1:-1].replace(quote * 2, quote)
    return cell


def _window(lines: Sequence[str], at: int, budget: Budget) -> Iterator[str]:
    """The line and those after it, as far as a record may reach."""
    left = min(WINDOW_CHARS, budget.chars)
    for index in range(at, min(at + _WINDOW_LINES, len(lines))):
        line = lines[index]
        yield line
        left -= len(line)
        if left <= 0:
            return


class _Scan:
    """Cells over several lines: a quote closes only where a cell may end and the width allows it."""

    def __init__(self, grammar: Grammar, width: int, *, doubled: bool) -> None:
        self._grammar = grammar
        self._quote = grammar.quote or ""
        self._delimiter = grammar.delimiter
        self._width = width
        self._doubled = doubled

    def run(self, lines: Sequence[str], at: int, budget: Budget) -> _Found:
        if not self._quote:
            return None
        cells: list[str] = []
        open_cell: list[str] | None = None
        for taken, raw in enumerate(_window(lines, at, budget), 1):
            if taken > 1 and self.begins_another(lines, at + taken - 1, budget):
                return None
            open_cell = self._line(without_end(raw), cells, open_cell)
            if open_cell is None:
                return cells, taken
            open_cell.append(raw[len(without_end(raw)) :])
        return None

    def begins_another(self, lines: Sequence[str], at: int, budget: Budget) -> bool:
        """Whether a record of its own begins here, or one that is as broken as the first: with quotes in pairs, and as
        wide as the file.
        """
        line = lines[at]
        quotes = line.count(self._quote)
        if quotes and quotes % 2 == 0 and self._width > 1:
            cells = split_cells(self._grammar, without_end(line))
            if len(cells) == self._width:
                return True
        return _is_a_record(self._grammar, lines, at, self._width, budget)

    def _line(self, line: str, cells: list[str], cell: list[str] | None) -> list[str] | None:
        """Adds the line's cells; what a quoted cell has so far if it goes on after the line."""
        at = 0
        while True:
            if cell is None and line.startswith(self._quote, at):
                cell, at = [], at + len(self._quote)
            if cell is None:
                text, at = _bare_cell(self._grammar, line, at)
            else:
                end = self._close(line, at, last=len(cells) + 1 == self._width)
                cell.append(self._plain(line[at:] if end is None else line[at:end]))
                if end is None:
                    return cell
                text, at, cell = "".join(cell), end + len(self._quote), None
            cells.append(text)
            if at >= len(line):
                return None
            at += len(self._delimiter)

    def _close(self, line: str, at: int, *, last: bool) -> int | None:
        """Where the closing quote stands: before the line's end in the last cell, before a delimiter else."""
        search = at
        while (found := line.find(self._quote, search)) >= 0:
            after = found + 1
            if self._doubled and line.startswith(self._quote, after):
                search = after + 1
                continue
            if after == len(line) if last else line.startswith(self._delimiter, after):
                return found
            search = after
        return None

    def _plain(self, text: str) -> str:
        return text.replace(self._quote * 2, self._quote) if self._doubled else text
