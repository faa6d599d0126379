"""The grammar of delimited text: one reader built on Python's csv module, for any dialect that we know."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from app.tabular.layout import Layout
from app.tabular.wrapping import NONE, Wrapping

# The module's own limit is the process's; what we hand it is bounded before, by lines and blocks.
csv.field_size_limit(2**31 - 1)

NUL = "NUL"
"""How a layout names the escape character that is a NUL."""

# Code points that no text has: one of them stands for a delimiter of several characters.
_STAND_INS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
_MARKS = re.compile("(?:^|(?<=[\r\n]))[\ufeff\f]+")
_BACKSLASH = "\\"
_NULL = "\\N"


@dataclass(frozen=True, slots=True)
class Grammar:
    """How lines become cells; see `Layout` for the fields."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    doubled: bool = True
    skip_space: bool = False
    wrapping: Wrapping = NONE

    @classmethod
    def of(cls, layout: Layout) -> "Grammar":
        """The grammar that a layout names."""
        escape = "\0" if layout.escape == NUL else layout.escape
        return cls(
            layout.delimiter,
            layout.quote,
            escape,
            layout.doubled,
            layout.skip_space,
            Wrapping(layout.tail, layout.wrapped),
        )

    def but(self, **changes: Any) -> "Grammar":
        """The same with some changes."""
        return replace(self, **changes)

    @property
    def direct(self) -> bool:
        """Whether the csv module reads it without help."""
        return len(self.delimiter) == 1 and not (self.delimiter == " " and self.skip_space)

    def prepare(self, text: str) -> tuple[str, str]:
        r"""The text as the csv module takes it, and the delimiter that stands in it now.

        Where a backslash escapes, a cell of `\N` is empty, as MySQL and PostgreSQL write what is null: not an N.
        """
        if self.wrapping:
            text = self.wrapping.removed(text)
        if self.escape == _BACKSLASH and _NULL in text:
            text = _nulls(self.delimiter).sub("", text)
        if self.direct:
            return text, self.delimiter
        stand_in = next((each for each in _STAND_INS if each not in text), _STAND_INS[0])
        if self.delimiter == " ":
            return _join_spaces(text, self.quote, stand_in), stand_in
        return text.replace(self.delimiter, stand_in), stand_in

    def restore(self, records: list[list[str]], delimiter: str) -> list[list[str]]:
        """Undo `prepare` where the delimiter stood inside quotes."""
        if self.direct:
            return records
        return [[cell.replace(delimiter, self.delimiter) for cell in record] for record in records]

    def reader(self, lines: Iterable[str], delimiter: str, *, strict: bool = True) -> Any:
        """A csv.reader over prepared lines; raises csv.Error where quotes are not as they should be."""
        return csv.reader(
            lines,
            delimiter=delimiter,
            quotechar=self.quote or '"',
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            escapechar=self.escape,
            doublequote=self.doubled,
            skipinitialspace=self.skip_space and self.direct,
            strict=strict,
        )

    def read(self, text: str, *, strict: bool = True) -> list[list[str]]:
        """All records of a text; raises csv.Error."""
        prepared, delimiter = self.prepare(text)
        records = list(self.reader(split_lines(prepared), delimiter, strict=strict))
        return self.restore(records, delimiter)

    def read_one(self, line: str, *, strict: bool = True) -> list[str] | None:
        """The cells of a single line; None where it isn't one whole record."""
        try:
            records = self.read(line, strict=strict)
        except csv.Error:
            return None
        return records[0] if len(records) == 1 else None


def without_marks(text: str) -> str:
    """Without the byte-order marks and form feeds that begin lines: files or pages were put together there."""
    if "\f" in text or "\ufeff" in text:
        return _MARKS.sub("", text)
    return text


def split_lines(text: str) -> list[str]:
    """Lines with their ends: LF, CRLF and CR end one, and nothing else does."""
    return list(io.StringIO(text, newline=""))


def without_end(line: str) -> str:
    """The line without its line end."""
    return line.rstrip("\r\n")


@lru_cache
def _nulls(delimiter: str) -> re.Pattern[str]:
    edge = re.escape(delimiter)
    return re.compile(rf"(?:^|(?<=[\r\n])|(?<={edge}))\\N(?=[\r\n]|{edge}|\Z)")


def _join_spaces(text: str, quote: str | None, stand_in: str) -> str:
    """Each run of spaces outside quotes as one delimiter; none at either end of a line."""
    text = re.sub(r"(?m)^ +| +(?=[\r\n]|\Z)", "", text)
    if quote is None or quote not in text:
        return re.sub(" +", stand_in, text)
    mark = re.escape(quote)
    pattern = f"((?<![^ \r\n]){mark}(?:[^{mark}]|{mark}{mark})*{mark}(?![^ \r\n]))| +"
    return re.sub(pattern, lambda found: found.group(1) or stand_in, text)
