"""The text of an uploaded file as documents: one, or as many as it takes."""

import re
from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Connection

from app.ai.documents import MAX_CHARS, add

MAX_TITLE = 255
_LINE_END = re.compile(r"\n+")


def keep_parts(
    tx: Connection, tenant_id: UUID, file_id: UUID, *, filename: str, words: str
) -> list[UUID]:
    """New documents, called as the file is, in the order of the text. A file has them once: the index on the
    parts refuses a second set.
    """
    parts = list(cut_parts(words))
    return [
        add(
            tx,
            tenant_id,
            title=_title(filename, number, len(parts)),
            words=part,
            source_file_id=file_id,
            source_part=number,
        )
        for number, part in enumerate(parts, 1)
    ]


def cut_parts(words: str, *, most: int = MAX_CHARS) -> Iterator[str]:
    """Pieces of at most so many characters, cut at the end of a line if there is one in the last tenth. Pure."""
    begin = 0
    while begin < len(words):
        limit = begin + most
        end = min(len(words), limit)
        if end < len(words):
            ends = [each.end() for each in _LINE_END.finditer(words, limit - most // 10, limit)]
            end = ends[-1] if ends else limit
        part = words[begin:end]
        if part.strip():
            yield part
        begin = end


def _title(filename: str, number: int, of: int) -> str:
    if of == 1:
        return filename[:MAX_TITLE]
    counted = f" ({number}/{of})"
    return filename[: MAX_TITLE - len(counted)] + counted
