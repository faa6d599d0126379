"""Lines into records: at the csv module's speed where nothing is wrong, with care where something is.

A damaged record never costs its neighbours anything: it is read again by itself, from its own first line
(see `lenient`). What a record becomes depends on the lines from its first one on and on nothing before.
"""

import csv
import gc
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from app.tabular.batch import Problem
from app.tabular.foreign import Fits, Reread, across_quotes, anything, reread_ragged
from app.tabular.grammar import Grammar, split_lines, without_end
from app.tabular.lenient import (
    WINDOW_CHARS,
    Budget,
    reread_damaged,
    reread_unbalanced,
    swallows,
)
from app.tabular.regular import Records, read_regular

_BUDGET_FACTOR = 8
_LEAST_BUDGET = 512 * 1024
_MAX_JOINED = 20
_MOST_LEFT = 8
_SEVERAL = 2


@dataclass(slots=True)
class Parsed:
    """The records of a block, and how many of its lines they took."""

    records: Records = field(default_factory=list)
    starts: list[int] | None = None
    """Index of each record's first line; None where record i is line i."""
    lines: int = 0
    total: int = 0
    """Lines of the block, those left out included."""
    problems: dict[int, Problem] = field(default_factory=dict)
    repaired: int = 0
    regular: bool = False
    """Known to be of the file's width throughout, and no record blank."""

    def line_of(self, record: int) -> int:
        """Index of the line that the record begins with; the end for the record after the last."""
        if record >= len(self.records):
            return self.lines
        return record if self.starts is None else self.starts[record]


def parse(
    text: str,
    grammar: Grammar,
    width: int,
    *,
    final: bool,
    settle: bool = False,
    fits: Fits = anything,
) -> Parsed:
    """The records of whole lines; `width` is the file's, 0 where it isn't known yet.

    Unless `final`, a record that more lines could change is left out; `lines` tells where it begins.
    With `settle` the first one isn't left out, whatever it looks like. `fits` tells whether cells that
    were read in another manner than the file's have the file's kinds of values.
    """
    plain = read_regular(text, grammar, width)
    if plain is not None:
        return Parsed(plain, lines=len(plain), total=len(plain), regular=True)
    prepared, delimiter = grammar.prepare(text)
    reader = grammar.reader(io.StringIO(prepared, newline=""), delimiter)
    try:
        records = _all(reader)
    except csv.Error:
        return _Careful(grammar, text, width, fits, final=final, settle=settle).run()
    count = reader.line_num
    widths = set(map(len, records))
    if len(records) != count or not _uniform(records, widths, width):
        return _Careful(grammar, text, width, fits, final=final, settle=settle).run()
    if width and max(widths, default=0) > width:
        records = [record[:width] for record in records]
    found = Parsed(grammar.restore(records, delimiter), lines=count, total=count)
    found.regular = 0 not in widths
    return found


def _all(reader: Iterator[list[str]]) -> list[list[str]]:
    """The rest of the records. The collector would walk them again and again; they have no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return list(reader)
    finally:
        if collecting:
            gc.enable()


def _uniform(records: list[list[str]], widths: set[int], width: int) -> bool:
    """Whether all have the width; or one larger width, and nothing beyond the file's own."""
    if not width or widths <= {width, 0}:
        return True
    if len(widths) == 1 and min(widths) > width:
        return not any(any(record[width:]) for record in records)
    return False


class _Careful:
    """Record by record; a new csv.reader begins after each record that had to be read again."""

    def __init__(
        self, grammar: Grammar, text: str, width: int, fits: Fits, *, final: bool, settle: bool
    ) -> None:
        self._text = text
        self._grammar = grammar
        self._width = width
        self._fits = fits
        self._final = final
        self._settle = settle
        self._waits = False
        self._damaged: dict[int, bool] = {}
        self._prepared, self._delimiter = grammar.prepare(text)
        self._lines = split_lines(self._prepared)
        self._inner = grammar if grammar.direct else _stand_in(grammar, self._delimiter)
        self._budget = Budget(max(_BUDGET_FACTOR * len(text), _LEAST_BUDGET))
        self._offsets: list[int] = []
        self._alike: bool | None = None
        self._records: list[list[str]] = []
        self._out = Parsed(self._records, starts=[], total=len(self._lines))

    def run(self) -> Parsed:
        at = 0
        while at < len(self._lines) and not self._waits:
            at = self._run_from(at)
        self._out.lines = min(at, len(self._lines))
        if not self._final:
            self._leave_damaged_end()
        self._out.repaired = sum(self._damaged.values())
        self._out.records = self._grammar.restore(self._records, self._delimiter)
        return self._out

    def _leave_damaged_end(self) -> None:
        """Leaves records that were read again to the next block, if they are the last ones: how they read may
        depend on the record after them.
        """
        keep = len(self._records)
        least = max(1, keep - _MOST_LEFT)
        while keep > least and keep - 1 in self._damaged:
            keep -= 1
        if keep == len(self._records) or keep - 1 in self._damaged:
            return
        self._out.lines = self._out.line_of(keep)
        del self._records[keep:]
        for gone in (self._damaged, self._out.problems):
            for index in [each for each in gone if each >= keep]:
                del gone[index]

    def _run_from(self, at: int) -> int:
        """Reads on until a record had to be read again, or must wait; the line to go on with."""
        stop = len(self._lines) if self._budget.chars > 0 else at + 1
        lines = map(self._lines.__getitem__, range(at, stop))
        reader = self._inner.reader(lines, self._delimiter)
        first = at
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return at + int(reader.line_num)
            except csv.Error:
                return self._read_damaged(first, at + reader.line_num - first)
            after = at + reader.line_num
            if len(cells) > self._width > 0 and self._is_padded(cells, first):
                cells = cells[: self._width]
            if self._is_sound(cells, first, after - first):
                self._keep(cells, first)
            elif (following := self._read_again(cells, first, after)) != after:
                return following
            first = after

    def _is_sound(self, cells: list[str], first: int, taken: int) -> bool:
        if len(cells) != self._width and cells and self._width:
            return False
        return taken == 1 or not self._swallows(first, taken)

    def _is_padded(self, cells: list[str], first: int) -> bool:
        """Whether nothing is in the cells beyond the width, and nothing in the line explains them."""
        if any(map(str.strip, cells[self._width :])):
            return False
        line = self._lines[first]
        return not any(f"{self._delimiter}{mark}" in line for mark in ("'", ' "', " '"))

    def _swallows(self, first: int, taken: int) -> bool:
        return swallows(self._inner, self._lines, first, taken, self._width, self._budget)

    def _keep_damaged(self, cells: list[str], first: int, *, sound: bool = True) -> None:
        self._damaged[len(self._records)] = sound
        self._keep(cells, first, None if sound else _broken(self._grammar))

    def _keep(self, cells: list[str], first: int, problem: Problem | None = None) -> None:
        if problem is not None:
            self._out.problems[len(self._records)] = problem
        assert self._out.starts is not None
        self._records.append(cells)
        self._out.starts.append(first)

    def _read_again(self, cells: list[str], first: int, after: int) -> int:
        """A record that the csv module took: with another width, or with lines of others in it."""
        if not any(map(str.strip, cells)):
            self._keep([], first)
            return after
        if after - first > 1 and self._swallows(first, after - first):
            return self._read_damaged(first, after - first)
        following = self._joined(first)
        if self._waits:
            return first
        if following is None and after - first == 1:
            following = self._read_ragged(cells, first)
        if following is None:
            self._keep(cells, first)
            following = after
        return following

    def _read_ragged(self, cells: list[str], first: int) -> int:
        """One line of another width: perhaps one quote is too many, or it was written in another manner."""
        again = reread_unbalanced(self._inner, self._lines, first, self._width, self._budget)
        if again is None or again.lines > 1:
            again = reread_ragged(self._inner, self._lines[first], cells, self._width, self._fits)
        if not again.sound:
            again = self._looser(first, again)
        if not again.sound and (following := self._foreign_over_lines(cells, first)) is not None:
            return following
        if not again.sound and not any(map(str.strip, cells[self._width :])):
            again = Reread(cells[: self._width], 1, sound=False)
        if again.sound:
            self._keep_damaged(again.cells, first)
        else:
            self._keep(again.cells, first)
        return first + 1

    def _foreign_over_lines(self, cells: list[str], first: int) -> int | None:
        """A record in another manner with line breaks in its cells."""
        quote = self._inner.quote
        if quote is None or self._lines[first].count(quote) % 2 == 0:
            return None
        text, taken = across_quotes(quote, self._lines, first)
        again = reread_ragged(self._inner, text, cells, self._width, self._fits)
        if not again.sound:
            return None
        self._keep_damaged(again.cells, first)
        return first + taken

    def _looser(self, first: int, again: Reread) -> Reread:
        """Without the spaces of a delimiter such as ", "."""
        delimiter = self._grammar.delimiter.strip(" ")
        if len(delimiter) == len(self._grammar.delimiter) or not delimiter:
            return again
        line = self._lines[first].replace(self._delimiter, self._grammar.delimiter)
        cells = self._grammar.but(delimiter=delimiter, skip_space=True).read_one(line)
        sound = cells is not None and len(cells) == self._width
        return Reread(cells, 1, sound=True) if sound and cells else again

    def _joined(self, first: int) -> int | None:
        """Line breaks of another kind than the record's own end, in a cell without quotes."""
        inner = _end_of(self._lines[first])
        if self._delimiter not in self._lines[first]:
            return None  # a title, perhaps, above a table from another program
        if self._ends_are_alike():
            last = first + _MAX_JOINED >= len(self._lines)
            self._waits = not self._final and first > 0 and last
            return None
        text = ""
        for number in range(first, min(first + _MAX_JOINED, len(self._lines))):
            line = self._lines[number]
            text += line
            if _end_of(line) not in {inner, ""}:
                break
        else:
            self._waits = not self._final and first > 0 and number + 1 == len(self._lines)
            return None
        cells = self._across(without_end(text))
        if cells is None:
            return None
        self._keep_damaged(cells, first)
        return number + 1

    def _ends_are_alike(self) -> bool:
        """Whether all lines of the block end in the same way."""
        if self._alike is None:
            self._alike = len({_end_of(line) for line in self._lines} - {""}) < _SEVERAL
        return self._alike

    def _across(self, text: str) -> list[str] | None:
        quote = self._grammar.quote
        if quote is not None and quote in text:
            return None
        cells = text.split(self._delimiter)
        return cells if len(cells) == self._width else None

    def _read_damaged(self, first: int, looked_at: int) -> int:
        if not self._final and self._must_wait(first, first + looked_at):
            self._waits = True
            return first
        self._budget.spend(self._chars(first, first + looked_at))
        again = (
            reread_damaged(self._inner, self._lines, first, self._width, self._budget, self._fits)
            if self._width
            else Reread(self._inner.read_one(self._lines[first], strict=False) or [], 1, sound=True)
        )
        self._keep_damaged(again.cells, first, sound=again.sound)
        return first + again.lines

    def _must_wait(self, first: int, seen: int) -> bool:
        """Whether lines after the block could change how a damaged record reads.

        It then begins the next block, where it sees enough. A block that began with a record too long
        for it settles everything in its first half, so that each block gets ahead.
        """
        if first == 0 or self._budget.chars <= 0:
            return first == 0 and seen >= len(self._lines) and not self._settle
        everything = len(self._lines)
        if self._settle and self._chars(first, everything) > self._chars(0, everything) // 2:
            return False
        return seen >= everything or self._chars(first, everything) < WINDOW_CHARS

    def _chars(self, first: int, after: int) -> int:
        if not self._offsets:
            self._offsets = [0, *accumulate(map(len, self._lines))]
        return self._offsets[min(after, len(self._lines))] - self._offsets[first]


def _broken(grammar: Grammar) -> Problem:
    return Problem(
        "invalid_csv",
        f"The quotes ({grammar.quote}) in this row don't match, and it can't be told where its cells end. "
        "Put quotes around whole cells only, and double each quote inside them.",
    )


def _stand_in(grammar: Grammar, delimiter: str) -> Grammar:
    return grammar.but(delimiter=delimiter, skip_space=False)


def _end_of(line: str) -> str:
    """The line's end: LF, CRLF or CR; nothing at the end of a file without one."""
    return line[len(without_end(line)) :][-2:]
