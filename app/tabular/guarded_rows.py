"""Rows of CSV made safe for spreadsheets, a block of them at a time: what `guarded` does for one cell.

Nearly all cells begin with a letter or a digit, or are plain numbers and phone numbers. That is found for the
whole block at C speed; the few others are looked at one by one.
"""

import re
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.tabular.spreadsheet import MAYBE, guarded

_SEPARATOR, _LOOK, _QUOTE, _SIGN, _PLAIN, _DIGIT, _ALWAYS = (1 << bit for bit in range(7))
_LONG_WORDS = 6
"""A number of so many times eight bytes is looked at by itself."""
_ONE, _EACH_BYTE = np.uint64(1), np.uint64(0x0101010101010101)
_BEHIND = b"\n" * 8
_UNQUOTED = re.compile(rb"[^,\n]*")
_QUOTED = re.compile(rb'(?:[^"]|"")*')


def _kinds() -> bytes:
    """By byte: what it is between cells, at the beginning of one, and in a number."""
    kinds = bytearray(256)
    for kind, chars in (
        (_SEPARATOR, b",\n"),
        (_LOOK, b'"' + b"".join(char.encode()[:1] for char in MAYBE)),
        (_QUOTE, b'"'),
        (_SIGN, b"+-"),
        (_PLAIN, b"0123456789 .,()-"),
        (_DIGIT, b"0123456789"),
        (_ALWAYS, b"=@\t\r\n"),
    ):
        for char in set(chars):
            kinds[char] |= kind
    kinds[ord("\n")] &= ~_LOOK  # what ends a row begins no cell
    return bytes(kinds)


_KINDS = _kinds()
# By length: the characters of MAYBE that are so many bytes of UTF-8, as numbers.
_CODES = {
    length: np.array(
        sorted(int.from_bytes(c.encode()) for c in MAYBE if len(c.encode()) == length), np.uint32
    )
    for length in (1, 2, 3)
}

Positions = NDArray[np.intp]
Flags = NDArray[np.bool_]
Kinds = NDArray[np.uint8]


def guard_rows(block: bytes) -> bytes:
    """The rows, in which each cell that could be taken for a formula has a `'` in front, inside of its quotes.

    The block is whole rows as PostgreSQL's COPY writes them: UTF-8, a comma between cells, a line feed behind
    each row, what has any of these or a quote in it in quotes.
    """
    # The first cell has a separator in front too, and a look at some bytes of the last one stays inside.
    rows = b"\n%b%b" % (block, _BEHIND)
    kinds = np.frombuffer(rows.translate(_KINDS), np.uint8)
    starts, quoted = _suspects(kinds, any_quotes=b'"' in block)
    if not starts.size:
        return block
    first = kinds[starts]
    guard = _has(first, _ALWAYS)
    numeric = _has(first, _SIGN) & ~quoted
    ask = ~guard & ~numeric
    ask[ask] = _begin_as_if(rows, starts[ask])
    guard[numeric], ask[numeric] = _no_numbers(kinds, starts[numeric])
    for index in np.flatnonzero(ask):
        guard[index] = _is_formula(rows, int(starts[index]), in_quotes=bool(quoted[index]))
    if not guard.any():
        return block
    ends = [1, *starts[guard].tolist(), len(rows) - len(_BEHIND)]
    return b"'".join(rows[begin:end] for begin, end in pairwise(ends))


def _suspects(kinds: Kinds, *, any_quotes: bool) -> tuple[Positions, Flags]:
    """Where cells begin, behind their quote, with a byte that formulas begin with; and which are in quotes."""
    starts = np.flatnonzero((kinds[:-1] & (kinds[1:] >> 1) & 1).view(bool)) + 1
    if not any_quotes:
        return starts, np.zeros(starts.size, bool)
    quotes = np.flatnonzero(_has(kinds, _QUOTE))
    starts = starts[np.searchsorted(quotes, starts) % 2 == 0]  # what is in quotes separates nothing
    quoted = _has(kinds[starts], _QUOTE)
    starts += quoted
    first = kinds[starts]
    kept = _has(first, _LOOK | _ALWAYS) & ~_has(first, _QUOTE)
    return starts[kept], quoted[kept]


def _no_numbers(kinds: Kinds, starts: Positions) -> tuple[Flags, Flags]:
    """Of cells without quotes that begin with a sign: which are no plain numbers, and which are too long to
    say. Eight bytes are looked at in one go.
    """
    words = np.ndarray(kinds.size - 7, "<u8", kinds, strides=(1,))
    formula, unknown = np.ones(starts.size, bool), np.zeros(starts.size, bool)
    which, at, digits = np.arange(starts.size), starts + 1, np.zeros(starts.size, bool)
    for _ in range(_LONG_WORDS):
        word = words[at]
        stops = _bit(word, _SEPARATOR) | (_bit(word, _PLAIN) ^ _EACH_BYTE)
        stop = stops & (~stops + _ONE)  # the lowest one: of the first byte
        digits |= (_bit(word, _DIGIT) & (stop - _ONE)) != 0
        ended = (_bit(word, _SEPARATOR) & stop) != 0
        formula[which[ended & digits]] = False
        going = stop == 0
        which, at, digits = which[going], at[going] + 8, digits[going]
        if not which.size:
            break
    formula[which], unknown[which] = False, True
    return formula, unknown


def _bit(word: NDArray[np.uint64], kind: int) -> NDArray[np.uint64]:
    """In each byte's lowest bit, whether it is of that kind."""
    return (word >> np.uint64(kind.bit_length() - 1)) & _EACH_BYTE


def _begin_as_if(rows: bytes, starts: Positions) -> Flags:
    """Which cells' first characters are in MAYBE. Letters share their first byte with some that are."""
    found = np.zeros(starts.size, bool)
    code: NDArray[np.uint32] = np.zeros(starts.size, np.uint32)
    bytes_ = np.frombuffer(rows, np.uint8)
    for length, codes in _CODES.items():
        code = (code << np.uint32(8)) | bytes_[starts + (length - 1)]
        found |= np.isin(code, codes)
    return found


def _is_formula(rows: bytes, start: int, *, in_quotes: bool) -> bool:
    found = (_QUOTED if in_quotes else _UNQUOTED).match(rows, start)
    assert found is not None
    cell = found[0].replace(b'""', b'"') if in_quotes else found[0]
    text = cell.decode()
    return guarded(text) != text


def _has(kinds: Kinds, bits: int) -> Flags:
    found: Flags = (kinds & bits) != 0
    return found
