"""Reading a number as people write it: which signs may group its digits, and which one begins the decimals."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple
from unicodedata import category, decimal

from app.imports.values.currency_codes import CURRENCY_CODES

Sign = Literal[".", ","]
SIGNS: tuple[Sign, Sign] = (".", ",")

_SPACES = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}\N{FIGURE SPACE}"
_QUOTES = "'\N{RIGHT SINGLE QUOTATION MARK}"
_MINUS = str.maketrans(
    dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{FULLWIDTH HYPHEN-MINUS}", "-")
)
_CODE = re.compile(r"^([A-Z]{3})[\s]*(?=[-+(0-9.,])|(?<=[0-9.,)-])[\s]*([A-Z]{3})$")
_WORDS = re.compile(
    r"^(?:US|CA|AU|NZ|HK|MX|R|A|C|S)(?=\$)|^(?:kr\.?|Fr\.?|zł|Kč|Ft)(?=[\s\d-])|(?<=[\s\d-])(?:kr\.?|Fr\.?|zł|Kč|Ft|lei)$"
)
_SIGNED = re.compile(
    r"(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<body>[^()+-]*?)\s*(?P<after>-)?\s*(?P<close>\))?"
)


_EVEN = re.compile(r"(?<=[0-9])([.,])-{1,2}$")
"""A dash in place of the cents: 12,- is 12.00."""


class Number(NamedTuple):
    """Digits before and after the decimal sign, without zeros that say nothing."""

    negative: bool
    whole: str
    fraction: str

    def __str__(self) -> str:
        minus = "-" if self.negative and self != Number(True, "0", "") else ""
        return f"{minus}{self.whole}.{self.fraction}" if self.fraction else f"{minus}{self.whole}"


class Readings(NamedTuple):
    """What a cell says if decimals begin with a point, and if with a comma; None: it is no number then."""

    point: Number | None
    comma: Number | None

    def by(self, sign: Sign) -> Number | None:
        """What it says with this decimal sign."""
        return self.point if sign == "." else self.comma

    def needs(self) -> Sign | None:
        """The decimal sign without which it is no number; None where both will do, or none."""
        if (self.point is None) == (self.comma is None):
            return None
        return "." if self.comma is None else ","


def _bodies(sign: Sign) -> re.Pattern[str]:
    other = "," if sign == "." else "."
    groups = rf"[1-9][0-9]{{0,2}}(?:(?P<by>[{re.escape(other)}{_SPACES}{_QUOTES}])[0-9]{{3}})(?:(?P=by)[0-9]{{3}})*"
    indian = rf"[1-9][0-9]?(?:{re.escape(other)}[0-9]{{2}})+{re.escape(other)}[0-9]{{3}}"
    return re.compile(
        rf"(?P<whole>{groups}|{indian}|[0-9]*)(?:{re.escape(sign)}(?P<fraction>[0-9]*))?"
    )


_BODY = {sign: _bodies(sign) for sign in SIGNS}
_NO_DIGIT = re.compile(r"[^0-9]")


@lru_cache(maxsize=65_536)
def readings(cell: str) -> Readings:
    """Every way to read the cell. Currency signs and codes, and accountants' parentheses, are understood."""
    plain = _without_currency(_ascii_digits(cell.translate(_MINUS))).strip()
    found = _SIGNED.fullmatch(_EVEN.sub(r"\g<1>00", plain))
    if found is None or bool(found["open"]) != bool(found["close"]):
        return Readings(None, None)
    marks = [found["open"], found["sign"] == "-", found["after"]]
    if sum(map(bool, marks)) > 1 or (found["sign"] == "+" and any(marks)):
        return Readings(None, None)
    body = found["body"]
    point, comma = (_read(body, sign, negative=any(marks)) for sign in SIGNS)
    return Readings(point, comma)


def has_currency(cell: str) -> bool:
    """Whether a currency's sign or code stands with the number."""
    return _without_currency(cell) != cell


def _read(body: str, sign: Sign, *, negative: bool) -> Number | None:
    found = _BODY[sign].fullmatch(body)
    if found is None or not (found["whole"] or found["fraction"]):
        return None
    whole = _NO_DIGIT.sub("", found["whole"]).lstrip("0") or "0"
    return Number(negative, whole, (found["fraction"] or "").rstrip("0"))


def _ascii_digits(cell: str) -> str:
    if cell.isascii():
        return cell
    return "".join(str(decimal(one)) if one.isdecimal() else one for one in cell)


def _without_currency(cell: str) -> str:
    cell = _WORDS.sub("", cell)
    if not cell.isascii() or "$" in cell:
        cell = "".join(one for one in cell if category(one) != "Sc").strip()
    found = _CODE.search(cell)
    if found and (found[1] or found[2]) in CURRENCY_CODES:
        return cell[: found.start()] + cell[found.end() :]
    return cell
