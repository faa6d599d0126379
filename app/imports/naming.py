"""Names of columns and fields, as people write them: case, accents and punctuation make no difference."""

import re
from functools import lru_cache
from unicodedata import combining, normalize

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SPECIAL = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe"})
_SHORTEST_PART = 4
"""A shorter name says nothing inside a longer one."""
PART = 0.6


def folded(column: str) -> str:
    """What makes two columns of a file the same to a mapping: their names but for case and white space."""
    return " ".join(column.split()).casefold()


@lru_cache(maxsize=10_000)
def matches(column: str, names: tuple[str, ...]) -> float:
    """1 where the column has one of the names, 0.6 where its name ends with one, such as "Work e-mail"."""
    words = _words(column)
    whole = "".join(words)
    known = {"".join(_words(name)) for name in names}
    if whole in known:
        return 1.0
    ends = ("".join(words[start:]) for start in range(1, len(words)))
    return PART if any(end in known and len(end) >= _SHORTEST_PART for end in ends) else 0.0


def _words(name: str) -> list[str]:
    plain = normalize("NFKD", _CAMEL.sub(" ", name).casefold().translate(_SPECIAL))
    return _WORD.findall("".join(one for one in plain if not combining(one)))
