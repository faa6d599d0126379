"""Long text in overlapping passages, so that what is found is a place and not a whole book. Pure."""

import re
from dataclasses import dataclass

from app.ai.tokens import reach, running_thirds

_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"(?<=[.!?\u3002])\s+"), re.compile(r"\s+"))
"""Where to cut, the best first: between paragraphs, sentences, words."""
_OVERLAP = 8
"""A passage begins an eighth of its predecessor's length before that one's end."""


@dataclass(frozen=True, slots=True)
class Passage:
    """The characters from `begin` up to `end`."""

    begin: int
    end: int


def cut(text: str, *, tokens: int) -> list[Passage]:
    """Passages of at most `tokens` (estimated; 2 at least) that cover all but white space, in order."""
    sums = running_thirds(text)
    begin, last = _skip(text, 0), len(text.rstrip())
    passages: list[Passage] = []
    while begin < last:
        limit = reach(sums, begin, tokens)
        end = last if limit >= last else _good_end(text, begin, limit)
        passages.append(Passage(begin, end))
        if end >= last:
            break
        begin = _next_begin(text, begin, end)
    return passages


def _good_end(text: str, begin: int, limit: int) -> int:
    """The best place to cut in the last third before the limit."""
    least = begin + max(1, (limit - begin) * 2 // 3)
    for pattern in _BREAKS:
        places = [found.start() for found in pattern.finditer(text, least, limit)]
        if places:
            return places[-1]
    return limit


def _next_begin(text: str, begin: int, end: int) -> int:
    """At a word in the overlap, beyond the last beginning, and with nothing left out."""
    wanted = max(begin + 1, end - (end - begin) // _OVERLAP)
    word = re.compile(r"\s\S").search(text, wanted, end)
    return _skip(text, word.start() + 1 if word else end)


def _skip(text: str, at: int) -> int:
    """The next character that is no white space, from `at` on."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at
