"""Records from bytes, a batch at a time, in memory that doesn't grow with the file.

Where a batch ends and what its records are depends only on where it began and on the bytes after, also those
behind its end: how a damaged record is to be read may only show there. So reading on from any batch's end gives
the same records under the same numbers.
"""

import codecs
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from app.errors import Unprocessable
from app.tabular.batch import Batch, Problem
from app.tabular.foreign import nothing
from app.tabular.grammar import Grammar, without_marks
from app.tabular.layout import Layout
from app.tabular.parsing import Parsed, parse
from app.tabular.regular import Records
from app.tabular.touch_up import TouchUp, fits_kinds

__all__ = ["Batch", "LineTooLong", "Problem", "read_range"]

BLOCK_BYTES = 32 * 1024
"""What is parsed at a time: small enough that its records are still in the processor's cache."""
AHEAD_BYTES = BLOCK_BYTES + 1
MAX_LINE_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024
_LONGEST_RECORD = MAX_LINE_BYTES
_NEAR_END = 32 * 1024
_LINES_WITH_NULS = re.compile(rb"[^\r\n]*(?:\r\x00*\n|\n|\r)|[^\r\n]+")
_CTRL_Z = b"\x1a"


class Readable(Protocol):
    """Of a binary file what is needed here; `read` may give fewer bytes than it is asked for, and none at the end."""

    def read(self, size: int, /) -> bytes: ...


class LineTooLong(Unprocessable):
    """A line of more than MAX_LINE_BYTES: no table that can be read in bounded memory."""

    code = "line_too_long"

    def __init__(self) -> None:
        super().__init__(
            f"The file has a line of more than {MAX_LINE_BYTES:,} bytes. "
            "Check that it is a CSV file with line breaks between its rows."
        )


def read_range(
    stream: Readable, layout: Layout, *, first_row: int, start: int, end: int
) -> Iterator[Batch]:
    """The records of a range that begins and ends where batches of `Table.batches` ended.

    `start` and `end` say where in the source that is, and `first_row` the number of its first record. `stream` is the
    source from `start` on; AHEAD_BYTES after the end are read, and more where that isn't a record's end. Needs a
    rangeable layout. Raises LineTooLong.
    """
    for cut in RecordReader(stream, layout, first_row=first_row, start=start).cuts():
        cut.end_at(end)
        yield cut.batch
        if cut.batch.end >= end:
            return


class RecordReader:
    """Iterates over batches of a byte stream in a byte-oriented encoding; raises LineTooLong."""

    def __init__(self, stream: Readable, layout: Layout, *, first_row: int, start: int = 0) -> None:
        self._window = Window(stream, start)
        self._decode = Decoder(layout.encoding)
        self._grammar = Grammar.of(layout)
        self._keeps_nuls = self._grammar.escape == "\0"
        self._touch_up = None if layout.exact else TouchUp(layout)
        self._width = 0 if layout.exact else len(layout.columns)
        self._fits = fits_kinds(layout.kinds)
        self._row = first_row
        if start == 0:
            self._window.advance(layout.bom_bytes)

    def __iter__(self) -> Iterator[Batch]:
        for cut in self.cuts():
            yield cut.batch

    def cuts(self) -> Iterator["Cut"]:
        """The batches, each so that it can still be shortened."""
        while True:
            parsed, block, text = self.parse_block()
            if not parsed.records and not parsed.lines:
                return
            records, problems = parsed.records, parsed.problems
            if not self._decode.was_clean:
                problems = problems | undecoded(records, self._decode.encoding)
            repaired = parsed.repaired
            if self._touch_up:
                records, touched = self._touch_up(records, text)
                repaired += touched
            start = self._window.position
            self._window.advance(self._bytes_of(block, parsed, len(records)))
            end = self._window.position
            batch = Batch(self._row, records, problems, end, repaired, start)
            yield Cut(batch, block, parsed, self._bytes_of)
            self._row += len(records)

    def near_end(self) -> bool:
        """Whether so little follows that it could be no more than a footer."""
        return self._window.holds_less(_NEAR_END)

    def skip_to(self, row: int) -> None:
        """Leave behind what comes before the record with this number."""
        fits, self._fits = self._fits, nothing
        while self._row < row:
            parsed, block, _ = self.parse_block()
            count = min(row - self._row, len(parsed.records))
            if not parsed.lines:
                break
            self._window.advance(self._bytes_of(block, parsed, count))
            self._row += count
        self._fits = fits

    def parse_block(self) -> tuple[Parsed, bytes, str]:
        """The next block's records, its bytes and its text; nothing is consumed."""
        for size in (BLOCK_BYTES, _LONGEST_RECORD):
            block, final = self._window.block(size)
            text = self._text(block)
            parsed = parse(text, self._grammar, self._width, final=final, fits=self._fits)
            if parsed.lines or final:
                return parsed, block, text
        settled = parse(text, self._grammar, self._width, final=False, settle=True, fits=self._fits)
        return settled, block, text

    def _text(self, block: bytes) -> str:
        text = self._decode(block)
        if "\0" in text and not self._keeps_nuls:
            text = text.replace("\0", "")
        return without_marks(text) if self._touch_up else text

    def _bytes_of(self, block: bytes, parsed: Parsed, records: int) -> int:
        """Length of the first records' lines in the block."""
        line = parsed.line_of(records)
        if records == len(parsed.records) and line == parsed.total:
            return len(block)
        dropped = b"\0" in block and not self._keeps_nuls
        lines = _LINES_WITH_NULS.findall(block) if dropped else block.splitlines(keepends=True)
        return sum(map(len, lines[:line]))


@dataclass(frozen=True, slots=True)
class Cut:
    """A batch and what it was read from."""

    batch: Batch
    block: bytes
    parsed: Parsed
    bytes_of: Callable[[bytes, Parsed, int], int]

    def shorten(self, count: int) -> None:
        """Keep only so many records."""
        batch = self.batch
        if count < len(batch.records):
            batch.end = batch.start + self.bytes_of(self.block, self.parsed, count)
            batch.problems = {at: each for at, each in batch.problems.items() if at < count}
            batch.records = batch.records[:count]

    def end_at(self, end: int) -> None:
        """Keep only the records before that place in the source, which is one's end."""
        if self.batch.end > end:
            counts = range(len(self.batch.records))
            size = end - self.batch.start
            self.shorten(
                bisect_left(counts, size, key=partial(self.bytes_of, self.block, self.parsed))
            )


class Window:
    """The bytes ahead of a position in a stream that is read once."""

    def __init__(self, stream: Readable, start: int) -> None:
        self._stream = stream
        self._buffer = b""
        self._ended = False
        self.position = start

    def block(self, size: int) -> tuple[bytes, bool]:
        """Whole lines, about `size` bytes of them, and whether the stream ends with them."""
        while True:
            self._fill(size)
            if self._ended and len(self._buffer) <= size:
                return self._buffer.rstrip(_CTRL_Z), True
            end = _line_end(self._buffer, size)
            if end:
                return self._buffer[:end], False
            if size > MAX_LINE_BYTES:
                raise LineTooLong
            size = min(size * 2, MAX_LINE_BYTES + 2)

    def advance(self, size: int) -> None:
        """Leave so many bytes behind."""
        self._fill(size)
        self._buffer = self._buffer[size:]
        self.position += size

    def holds_less(self, size: int) -> bool:
        """Whether fewer bytes than that are left."""
        self._fill(size)
        return len(self._buffer) < size

    def _fill(self, size: int) -> None:
        pieces = [self._buffer]
        have = len(self._buffer)
        while not self._ended and have <= size:
            piece = self._stream.read(max(size + 1 - have, _READ_BYTES))
            self._ended = not piece
            pieces.append(piece)
            have += len(piece)
        if len(pieces) > 1:
            self._buffer = b"".join(pieces)


class Decoder:
    """Bytes to text; lone surrogates stand for bytes that the encoding hasn't."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.was_clean = True
        self._strict = codecs.getdecoder(encoding)

    def __call__(self, block: bytes) -> str:
        try:
            text = self._strict(block)[0]
            self.was_clean = True
        except UnicodeDecodeError:
            text = block.decode(self.encoding, "surrogateescape")
            self.was_clean = False
        return text


def undecoded(records: Records, encoding: str) -> dict[int, Problem]:
    """A problem for each record with lone surrogates."""
    return {
        index: Problem(
            "not_in_encoding",
            f"This row has bytes that are not {encoding}, the file's encoding. Save the file in one encoding.",
        )
        for index, record in enumerate(records)
        if not is_text("".join(record))
    }


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: false where lone surrogates stand for bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line_end(buffer: bytes, size: int) -> int:
    """After the last line end in the first `size` bytes; a CR at the very end may be half of one."""
    return max(buffer.rfind(b"\n", 0, size), buffer.rfind(b"\r", 0, size - 1)) + 1
