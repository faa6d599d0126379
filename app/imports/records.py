"""RFC 4180 records from UTF-8 bytes, with byte offsets, in memory that doesn't grow with the file.

Planning and importing read through this one reader, so that both see the same rows under the same
numbers. A record that isn't valid CSV is yielded with an error instead of cells, and reading goes on
with the next line. Lines are split by C code a block at a time, and an offset is worked out only when
it is asked for: this is the inner loop of every import.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from app.errors import Unprocessable

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 1024 * 1024

Record: TypeAlias = tuple[list[str], str | None]
"""The cells and no error; or no cells and what is wrong with the row."""


class LineTooLong(Unprocessable):
    """A line of more than MAX_LINE_BYTES: this is no CSV that we can read in bounded memory."""

    code = "line_too_long"


class RecordReader:
    """Iterates over the records of a byte stream, empty ones included (no cells, no error).

    Bytes that are not UTF-8 come through as lone surrogates (`surrogateescape`), for the caller to
    reject the row. Raises LineTooLong while iterating. `start` is where in the file the stream begins:
    a byte-order mark counts at the file's own beginning alone, for planning and importing alike.
    """

    def __init__(self, blocks: Iterable[bytes], *, start: int = 0) -> None:
        self._blocks = _LineBlocks(blocks, start)
        self._reader = csv.reader(chain.from_iterable(self._blocks), strict=True)

    def __iter__(self) -> Iterator[Record]:
        while True:
            try:
                for cells in self._reader:
                    yield cells, None
            except csv.Error as error:
                yield [], str(error)
            else:
                return

    def at_block_end(self) -> bool:
        """Whether the last record ended with the last line of its block: a cheap place to look up."""
        return self._reader.line_num >= self._blocks.last_line

    def offset(self) -> int:
        """Where in the file the records so far end, the byte-order mark counted."""
        return self._blocks.offset_after(self._reader.line_num)


class _LineBlocks:
    """Whole lines, a block at a time; `last_line` is the number of the current block's last line."""

    def __init__(self, blocks: Iterable[bytes], start: int) -> None:
        self._source = blocks
        self._start = start
        self._first_line = 1
        self._current = b""
        self.last_line = 0

    def __iter__(self) -> Iterator[io.StringIO]:
        for block in _whole_lines(self._source):
            self._start += len(self._current)
            self._first_line = self.last_line + 1
            self._current = block
            self.last_line += block.count(b"\n") + (not block.endswith(b"\n"))
            text = block[len(BOM) :] if self._start == 0 and block.startswith(BOM) else block
            yield io.StringIO(text.decode("utf-8", "surrogateescape"), newline="\n")

    def offset_after(self, line: int) -> int:
        lines = line - self._first_line + 1
        if line >= self.last_line:
            return self._start + len(self._current)
        position = 0
        for _ in range(lines):
            position = self._current.index(b"\n", position) + 1
        return self._start + position


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut after line feeds; the last block may lack one."""
    rest = b""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > MAX_LINE_BYTES:
            raise LineTooLong(
                f"The file has a line of more than {MAX_LINE_BYTES} bytes. "
                "Check that it is a CSV file with line breaks between its rows."
            )
    if rest:
        yield rest


def is_utf8(text: str) -> bool:
    """Whether all of it was UTF-8: false where lone surrogates stand for bytes that weren't."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_blank(cells: list[str]) -> bool:
    """Whether the record has nothing in it: an empty line, or separators alone."""
    return not any(cells) or not any(cell.strip() for cell in cells)
