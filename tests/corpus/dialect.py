"""Writing tables in any dialect: our own writer, so that no reader is judged by its own."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tests.corpus.case import Cells, Rows, Table

Quoting = Literal["all", "minimal", "text", "none"]
NUMBER = re.compile(r"-?[\d.,]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    delimiter: str = ","
    quote: str = '"'
    quoting: Quoting = "minimal"
    escape: str | None = None
    """The character before a quote inside quotes; None: the quote is doubled."""
    line_end: str = "\n"
    final_line_end: bool = True
    encoding: str = "utf-8"
    mark: bytes = b""

    def cell(self, text: str) -> str:
        return self.quoted(text) if self._needs_quotes(text) else text

    def quoted(self, text: str) -> str:
        if self.escape is None:
            inner = text.replace(self.quote, self.quote * 2)
        else:
            inner = text.replace(self.quote, self.escape + self.quote)
            if self.escape != "\0":
                inner = text.replace(self.escape, self.escape * 2).replace(
                    self.quote, self.escape + self.quote
                )
        return f"{self.quote}{inner}{self.quote}"

    def _needs_quotes(self, text: str) -> bool:
        match self.quoting:
            case "all":
                return True
            case "none":
                return False
            case "text" if not NUMBER.match(text):
                return True
        special = {*self.delimiter, self.quote, "\r", "\n"}
        return any(character in special for character in text)

    def line(self, cells: Iterable[str]) -> str:
        return self.delimiter.join(self.cell(cell) for cell in cells)

    def lines(self, rows: Rows) -> list[str]:
        return [self.line(row) for row in rows]

    def join(self, lines: Iterable[str]) -> bytes:
        """The file: lines as they stand, ended and encoded."""
        text = self.line_end.join(lines)
        if self.final_line_end:
            text += self.line_end
        return self.mark + text.encode(self.encoding, "surrogateescape")

    def file(self, table: Table) -> bytes:
        return self.join(self.lines((table.header, *table.rows)))


COMMA = Dialect()
SEMICOLON = Dialect(delimiter=";")


def plain(table: Table, characters: str) -> Table:
    """The same table without these characters and without line breaks, for a file that can't quote."""
    unsafe = re.compile(f"[{re.escape(characters)}\r\n]+")

    def clean(row: Cells) -> Cells:
        return tuple(unsafe.sub("/", cell).strip("/ ") for cell in row)

    return Table(table.name, clean(table.header), tuple(clean(row) for row in table.rows))
