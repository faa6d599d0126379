"""Which encoding a text is in: by its mark, by what it can only be, and by likelihood at last."""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

import chardet

from app.errors import Unprocessable
from app.tabular.layout import Doubt

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# What people really have on their disks; the library knows many more, which it then sees everywhere.
_LEGACY = (
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254",
    "windows-1255", "windows-1256", "windows-1257", "windows-1258", "iso-8859-2", "iso-8859-5",
    "iso-8859-7", "iso-8859-9", "koi8-r", "koi8-u", "cp437", "cp850", "cp852", "cp866", "macroman",
    "cp932", "euc-jp", "gb18030", "big5", "cp949", "cp874",
)  # fmt: skip
_PYTHON_NAMES = {"big5": ("cp950", "big5hkscs"), "cp949": ("cp949",), "shift_jis": ("cp932",)}
_WESTERN = "cp1252"
_WESTERN_SHARE = 0.6
_UTF8_SHARE = 0.3
_GUESS_BYTES = 64 * 1024
_WIDE_SHARE = 20
_A_FEW_BYTES = 8
_OUTER = 20
_HIGH = re.compile(rb"[\x80-\xff]")
_NOT_WINDOWS = ("macroman", "cp850", "cp437", "cp852")
_FEW_SIGNS = 8
_SIGN_IN_WORD = re.compile(
    "[A-Za-z](?:[\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u2039\u203a\u2018\u201c\u201d\u2022\u02dc\u2122\ufffd"
    "\u00a1-\u00ac\u00ae-\u00b6\u00b8-\u00bf\u00d7\u00f7]|(?<=[a-z])[\u00c0-\u00de\u0160\u017d\u0178])[a-z]"
)
_SURROGATES = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
"""What some databases write for a character outside of the first 65,536, in place of UTF-8."""
_KANA = re.compile("[\u3041-\u30ff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name, the length of the mark before the text, and what is uncertain about it."""

    name: str
    bom_bytes: int = 0
    doubts: tuple[Doubt, ...] = ()


def find_encoding(
    head: bytes, hint: str | None, *, complete: bool, more: Callable[[], bytes] = bytes
) -> Encoding:
    """The encoding of a file that begins with `head` (`complete`: that is all of it).

    `more` gives samples from further in, asked for only where the head is plain ASCII. Raises
    Unprocessable where the hint names no encoding.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, len(mark))
    if hint:
        return Encoding(_codec(hint, head))
    wide = _wide(head)
    if wide:
        return Encoding(wide)
    if _HIGH.search(head) is None:
        if b"\x1b$" in head and _decodes(head, "iso2022_jp", complete=complete):
            return Encoding("iso2022_jp", doubts=(_guessed("iso2022_jp"),))
        head, complete = more(), False
    if _is_utf8(head, complete=complete):
        return Encoding("utf-8")
    name = _legacy(head, complete=complete)
    return Encoding(name, doubts=(_guessed(name),))


def _codec(hint: str, head: bytes) -> str:
    """Python's name for what the caller calls it, of the kind without marks."""
    try:
        name = codecs.lookup(hint.strip()).name
        if name in {"utf-16", "utf-32"}:
            return _wide(head) or f"{name}-le"
        name = "utf-8" if name == "utf-8-sig" else name
        wide = name.startswith(("utf-16", "utf-32"))
        readable = wide or b"a,\r\n".decode(name) == "a,\r\n"
        if not wide:
            b"\xe9,\n".decode(name, "surrogateescape")
    except (LookupError, ValueError, TypeError, AssertionError):
        readable = False
    if not readable:
        raise Unprocessable(
            f"There is no text encoding {hint[:40]!r}. Use a name such as utf-8, windows-1252 or shift_jis.",
            code="unknown_encoding",
        )
    return name


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: zeros at the same place in every character."""
    sample = head[: 4096 - 4096 % 4]
    sample = sample[: len(sample) - len(sample) % 4]
    if _is_narrow_at_first(sample):
        return None
    zeros = [sample[offset::4].count(0) for offset in range(4)]
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if (even + odd) * _WIDE_SHARE < len(sample):
        return None
    for name, inner, outer in (("le", odd, even), ("be", even, odd)):
        lead = zeros[3] if name == "le" else zeros[0]
        if outer * _OUTER < inner:
            return f"utf-16-{name}"
        if lead * 5 > len(sample):  # a fourth of all bytes, nearly
            return f"utf-32-{name}"
    return None


def _is_narrow_at_first(sample: bytes) -> bool:
    """Whether a line of bytes comes before the first zero: wide text was put behind one that isn't."""
    before = sample[: sample.find(0)]
    return b"\n" in before[_A_FEW_BYTES:] and _decodes(before, "utf-8", complete=False)


def _decodes(head: bytes, name: str, *, complete: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(head, complete)
    except UnicodeError:
        return False
    return True


def _is_utf8(head: bytes, *, complete: bool) -> bool:
    """Whether it is UTF-8, a few foreign bytes allowed: those rows are reported, not guessed."""
    if _decodes(head, "utf-8", complete=complete):
        return True
    text = _SURROGATES.sub(b"", head).decode("utf-8", "surrogateescape")
    foreign = sum(1 for each in text if "\udc80" <= each <= "\udcff")
    proper = sum(1 for each in text if each > "\x7f") - foreign
    return proper >= max(1, foreign * _UTF8_SHARE) or (not foreign and len(text) < len(head))


def _legacy(head: bytes, *, complete: bool) -> str:
    """The likeliest of the encodings from before Unicode; Western European if that is nearly as likely."""
    lines = [line for line in head.splitlines(keepends=True) if _HIGH.search(line)]
    sample = b"".join(lines)[:_GUESS_BYTES]
    found = chardet.detect_all(sample, ignore_threshold=True, include_encodings=_LEGACY)
    odds = {str(each["encoding"]).lower(): each["confidence"] for each in found if each["encoding"]}
    best = max(odds, key=lambda name: odds[name], default="windows-1252")
    if odds.get("windows-1252", 0.0) >= _WESTERN_SHARE * odds.get(best, 0.0):
        others = [name for name in odds if name in _NOT_WINDOWS]
        if not others or not _has_signs_in_words(sample):
            return _western(sample)
        best = max(others, key=lambda name: odds[name])
    if best == "gb18030" and _has_kana(sample):
        return "euc_jp"
    for name in _PYTHON_NAMES.get(best, (best,)):
        if _decodes(head, name, complete=complete):
            return codecs.lookup(name).name
    return codecs.lookup(_PYTHON_NAMES.get(best, (best,))[0]).name


def _has_signs_in_words(sample: bytes) -> bool:
    """Whether it reads as Windows-1252 with signs or capitals in the middle of words."""
    found = len(_SIGN_IN_WORD.findall(sample.decode(_WESTERN, "replace")))
    return found * _FEW_SIGNS > len(_HIGH.findall(sample))


def _western(sample: bytes) -> str:
    """Windows-1252, or ISO 8859-15 where the euro sign of that one stands."""
    controls = re.search(rb"[\x80-\x9f]", sample)
    return "iso8859-15" if b"\xa4" in sample and controls is None else _WESTERN


def _has_kana(sample: bytes) -> bool:
    try:
        return _KANA.search(sample.decode("euc_jp", "ignore")) is not None and _decodes(
            sample, "euc_jp", complete=False
        )
    except UnicodeError:
        return False


def _guessed(name: str) -> Doubt:
    return Doubt(
        code="encoding_guessed",
        message=f"The file is not in UTF-8 and doesn't say what it is in; it was read as {name}. "
        "If letters with accents look wrong, name the encoding.",
    )
