"""RFC 4180 records from UTF-8 bytes, with byte offsets, in memory that doesn't grow with the file.

Planning and importing read through this one reader, so that both see the same rows under the same
numbers. A record that isn't valid CSV is yielded with an error instead of cells, and reading goes on
with the next line.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.errors import Unprocessable

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 1024 * 1024


class Record(NamedTuple):
    """One record. `end` is the offset of the byte after it, counted from the first byte read."""

    cells: list[str]
    error: str | None
    end: int


class LineTooLong(Unprocessable):
    """A line of more than MAX_LINE_BYTES: this is no CSV that we can read in bounded memory."""

    code = "line_too_long"


def records(blocks: Iterable[bytes]) -> Iterator[Record]:
    """The records of a byte stream, empty ones included (`cells` is then empty).

    Bytes that are not UTF-8 come through as lone surrogates (`surrogateescape`), for the caller to
    reject the row. Raises LineTooLong.
    """
    lines = _Lines(blocks)
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            yield Record(next(reader), None, lines.offset)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record([], str(error), lines.offset)


class _Lines:
    """Decoded lines with their ends; `offset` is the number of bytes handed out so far."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.offset = 0
        self._lines = _split(blocks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        start = self.offset
        self.offset += len(line)
        if start == 0 and line.startswith(BOM):
            line = line[len(BOM) :]
        return line.decode("utf-8", "surrogateescape")


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their line feed; the last one may lack it."""
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n") if rest else block.split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            raise _too_long()
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise _too_long()
            yield line + b"\n"
    if rest:
        yield rest


def _too_long() -> LineTooLong:
    return LineTooLong(
        f"The file has a line of more than {MAX_LINE_BYTES} bytes. "
        "Check that it is a CSV file with line breaks between its rows."
    )


def is_blank(cells: list[str]) -> bool:
    """Whether the record has nothing in it: an empty line, or separators alone."""
    return not any(cells) or not any(cell.strip() for cell in cells)
