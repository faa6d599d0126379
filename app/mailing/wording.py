"""How values stand in a mail: on one line, with their unit, and in the reader's time zone."""

import unicodedata
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

MAX_LINE_CHARS = 300
MAX_URL_CHARS = 2000

# As the payment provider counts minor units, which is not everywhere as ISO 4217 does.
_NO_DECIMALS = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def one_line(text: str) -> str:
    """The text without line breaks, control characters and marks that turn the direction of writing:
    a customer's file name or title can't add a header, forge a line, or dress up as another name.
    """
    kept = ("" if each in _BIDI else " " if _is_control(each) else each for each in text)
    line = " ".join("".join(kept).split())
    return line if len(line) <= MAX_LINE_CHARS else line[: MAX_LINE_CHARS - 1] + "\u2026"


def web_address(text: str) -> str:
    """An absolute http(s) URL. Raises ValueError: a mail must not hold `javascript:` or a stray space."""
    parts = urlsplit(text)
    plain = len(text) <= MAX_URL_CHARS and not any(
        each.isspace() or _is_control(each) or each in '<>"\\' for each in text
    )
    if parts.scheme not in {"http", "https"} or not parts.netloc or not plain:
        raise ValueError("Give an absolute http or https URL.")
    return text


def path_below(text: str) -> str:
    """A path below the product's own address, such as `/console/imports`. Raises ValueError."""
    plain = not any(each.isspace() or _is_control(each) or each in '<>"\\' for each in text)
    if not text.startswith("/") or text.startswith("//") or not plain or len(text) > MAX_URL_CHARS:
        raise ValueError("Give a path that begins with one slash.")
    return text


Line = Annotated[str, AfterValidator(one_line)]
WebAddress = Annotated[str, AfterValidator(web_address)]
PathBelow = Annotated[str, AfterValidator(path_below)]


def number(value: int) -> str:
    """12,345"""
    return f"{value:,}"


def money(minor: int, currency: str) -> str:
    """An amount in minor units, exactly: 1234 of EUR is 12.34 EUR, of JPY 1,234 JPY."""
    code = currency.upper()
    digits = 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2
    whole, rest = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    fraction = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{fraction} {code}"


def moment(value: datetime, zone_name: str) -> str:
    """To the minute, on the reader's clock: 2026-03-01 09:30 (Europe/Berlin)"""
    return f"{value.astimezone(ZoneInfo(zone_name)):%Y-%m-%d %H:%M} ({zone_name})"


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
