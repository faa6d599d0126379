"""The text of documents, as far as it goes: page after page, part after part, up to so many characters."""

import re
from collections.abc import Iterable
from typing import BinaryIO

from app.errors import Unprocessable
from app.files.protocol import DocumentRequest, Reply
from app.files.sandbox.refusal import Refused

_HEAD_BYTES = 256 * 1024
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
_BLANKS = re.compile(r"[^\S\n]+\n")
_EMPTY_LINES = re.compile(r"\n{3,}")


def extract_text(source: BinaryIO, request: DocumentRequest) -> tuple[Reply, list[bytes]]:
    """The text as UTF-8; empty when there is none, as in a scanned page. Raises Refused, MemoryError."""
    pieces = _pieces(source, request.type)
    text, truncated = _some(pieces, request.limits.max_chars)
    return Reply(truncated=truncated), [text.encode()]


def _pieces(source: BinaryIO, kind: str) -> Iterable[str]:
    """What reads one sort is imported for that sort alone: a process reads one file."""
    match kind:
        case "application/pdf":
            from app.files.sandbox import pdf_text

            return pdf_text.pages(source)
        case "text/html":
            from app.files.sandbox import html_text

            return html_text.blocks(_decoded(source.read()))
        case "text/plain":
            return [_decoded(source.read())]
        case _:
            from app.files.sandbox import docx_text

            return docx_text.blocks(source)


def _some(pieces: Iterable[str], most: int) -> tuple[str, bool]:
    """The pieces, a line or more for each, until there are `most` characters."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        clean = _clean(piece)
        if not clean:
            continue
        kept.append(clean[: most - size])
        size += len(clean) + 1
        if size > most:
            return "\n".join(kept), True
    return "\n".join(kept), False


def _clean(piece: str) -> str:
    lines = piece.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _EMPTY_LINES.sub("\n\n", _BLANKS.sub("\n", _UNPRINTABLE.sub("", lines))).strip()


def _decoded(data: bytes) -> str:
    from app.tabular.encoding import find_encoding

    try:
        encoding = find_encoding(data[:_HEAD_BYTES], None, complete=len(data) <= _HEAD_BYTES)
    except Unprocessable as bad:
        raise Refused(str(bad), bad.code) from None
    return data[encoding.bom_bytes :].decode(encoding.name, "replace")
