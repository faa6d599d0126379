"""Names of columns and fields, as people write them: case, accents and punctuation make no difference."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from unicodedata import combining, normalize

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SPECIAL = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "#": " number "})
_BRACKETS = {")": "(", "]": "["}
_AND = frozenset({"and", "und", "et", "y", "e", "en", "och", "og", "i", "or", "oder", "ou", "o"})
_ONE_WORD = frozenset({"email", "epost", "emails"})
_SHORTEST_PART = 3
"""A shorter name says nothing inside a longer one."""
_MOST_WORDS = 8
_LONGEST_NAME = 300
"""A longer name is none that anybody gives to a field."""
PART = 0.6


def folded(column: str) -> str:
    """What makes two columns of a file the same to a mapping: their names but for case and white space."""
    return " ".join(column.split()).casefold()


@lru_cache(maxsize=10_000)
def matches(column: str, names: tuple[str, ...]) -> float:
    """1 where the column has one of the names, 0.6 where its name ends with one, such as "Work e-mail", or where a
    remark in brackets follows. A name that ends with two of them ("First and last name") is none.
    """
    if len(column) > _LONGEST_NAME:
        return 0.0
    words = _words(column)
    known = {"".join(_words(name)) for name in names}
    if "".join(words) in known:
        return 1.0
    words = _words(_without_remark(column))
    if "".join(words) in known:
        return PART
    return PART if any(end in known and len(end) >= _SHORTEST_PART for end in _ends(words)) else 0.0


def _without_remark(name: str) -> str:
    """Without a unit or a remark in brackets behind it: "Price (EUR)"."""
    name = name.rstrip()
    at = name.rfind(_BRACKETS.get(name[-1:], "\n"))
    return name[:at] if at > 0 else name


def _ends(words: Sequence[str]) -> Iterator[str]:
    """What the name ends with, the longest first, but nothing of "one and another"."""
    pairs = pairwise(words)
    if not any(word in _AND and f"{word}{after}" not in _ONE_WORD for word, after in pairs):
        yield from (
            "".join(words[start:]) for start in range(max(1, len(words) - _MOST_WORDS), len(words))
        )


def _words(name: str) -> list[str]:
    plain = normalize("NFKD", _CAMEL.sub(" ", name).casefold().translate(_SPECIAL))
    return _WORD.findall("".join(one for one in plain if not combining(one)))
