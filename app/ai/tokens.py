"""How many tokens a text has, without a tokenizer: an estimate on the high side.

Every model counts differently, and their tables come over the network. For English prose the estimate
is about a third too high, for Chinese, Japanese or emoji about half; text that looks random (keys,
base64) may have up to twice as many. It decides how requests are packed and what is reserved from the
budget; what is paid is what the provider counted.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

_LETTER, _SIGN, _PER_BYTE = 1, 3, 2
"""Thirds of a token: of an ASCII letter or space, any other ASCII character, a byte beyond ASCII."""


def estimate_tokens(text: str) -> int:
    """At least 1."""
    return _whole(sum(map(_thirds, text)))


def running_thirds(text: str) -> list[int]:
    """What the first 0, 1, 2 ... characters cost, in thirds of a token."""
    return list(accumulate(map(_thirds, text), initial=0))


def reach(sums: Sequence[int], begin: int, tokens: int) -> int:
    """Where a piece that begins at `begin` ends, at most, to have no more than `tokens`; beyond `begin`."""
    end = bisect_right(sums, sums[begin] + 3 * (tokens - 1)) - 1
    return min(max(end, begin + 1), len(sums) - 1)


def clip(text: str, tokens: int) -> str:
    """As much of the text's beginning as has no more than `tokens`."""
    if estimate_tokens(text) <= tokens:
        return text
    return text[: reach(running_thirds(text), 0, tokens)]


def _thirds(character: str) -> int:
    if character.isascii():
        return _LETTER if character.isalpha() or character == " " else _SIGN
    return _PER_BYTE * len(character.encode("utf-8", "replace"))


def _whole(thirds: int) -> int:
    return 1 + -(-thirds // 3)
