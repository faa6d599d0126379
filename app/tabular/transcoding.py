"""Text in wide characters (UTF-16, UTF-32) as a stream of UTF-8, so that one reader reads all."""

import codecs
import io
from typing import BinaryIO

_PIECE = 256 * 1024
_HANDLER = "millrace.lone"


def _lone(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate for what is no character: it becomes a byte that is not UTF-8, seen by the reader."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_HANDLER, _lone)


class AsUtf8(io.RawIOBase):
    """The same text in UTF-8; what can't be decoded comes as bytes that are not UTF-8."""

    def __init__(self, source: BinaryIO, encoding: str, skip: int) -> None:
        super().__init__()
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        source.read(skip)

    def readable(self) -> bool:
        """It is all that it can be."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Some of the text, at least one byte of it unless it has ended."""
        del size
        while piece := self._source.read(_PIECE):
            if text := self._decoder.decode(piece):
                return text.encode("utf-8", "surrogateescape")
        return self._decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
