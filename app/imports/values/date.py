"""Dates: ISO 8601, day and month in either order, and with the month's name. Stored as dates.

`options.date_order` says which of day and month comes first, and is then held strictly. Without it, a date
counts that can only be read in one way; 03/04/2024 is rejected rather than guessed.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from typing import ClassVar, Literal

from typing_extensions import override

from app.imports.values.column import Column, Fault, FieldType, Parsed, ValueOptions, shown
from app.imports.values.months import MONTHS, unaccented

Order = Literal["dmy", "mdy", "ymd"]

_PLAIN = re.compile(
    r"^(?:([12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8]))|.*)$", re.MULTILINE
)
_MIDNIGHT = re.compile(r"[T ]+0?0:00(?::00(?:[.,]0+)?)?(?: ?(?:Z|UTC|[+-]00:?00))?$")
_TIME = re.compile(r"[T ]+\d{1,2}:\d{2}")
_YEAR_FIRST = re.compile(r"([0-9]{4})([-/.]?)([0-9]{1,2})\2([0-9]{1,2})")
_NUMBERS = re.compile(r"([0-9]{1,2})([-/. ])\s*([0-9]{1,2})\2\s*([0-9]{4}|[0-9]{2})")
_DAY_NAME = re.compile(
    r"(?:\w+,?\s+)?([0-9]{1,2})(?:\.|st|nd|rd|th|er|º)?[-/ ]*(?:de )?([^\W\d]+)\.?[-/, ]*(?:de )?([0-9]{4}|[0-9]{2})"
)
_NAME_DAY = re.compile(
    r"(?:\w+,\s+)?([^\W\d]+)\.?[- ]*([0-9]{1,2})(?:st|nd|rd|th)?[-, ]+([0-9]{4})"
)
_LIKELY: dict[str, tuple[Order, ...]] = {
    ".": ("dmy",),
    "/": ("dmy", "mdy"),
    " ": ("dmy", "mdy"),
    "-": ("dmy", "mdy", "ymd"),
}
"""The orders in which people write numbers with this between them."""
_COMPACT_CHARS = 8
_PIVOT = 69
"""A year of two digits from here on is one of the last century, as POSIX has it."""
_MAX_CHARS = 60


class Date(FieldType):
    """A day. A time of day is rejected, except midnight: it would be lost."""

    name: ClassVar[str] = "date"
    sql = "date"

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        if column.one_line_each():
            parsed = Parsed(_PLAIN.findall(column.lines()))
        else:
            parsed = Parsed([""] * len(column.cells))
        for index, (value, cell) in enumerate(zip(parsed.values, column.cells, strict=True)):
            if not value and cell:
                found = _read(cell, options.date_order)
                if isinstance(found, Fault):
                    parsed.faults[index] = found
                else:
                    parsed.values[index] = found
        return parsed

    @override
    def looks_like(self, cell: str) -> bool:
        return bool(_candidates(cell))

    @override
    def evidence(self, cells: Sequence[str]) -> set[tuple[str, str]]:
        found = (_candidates(cell) for cell in cells)
        return {
            ("date_order", order)
            for days in found
            if len(days) == 1
            for order in days
            if order is not None
        }


@lru_cache(maxsize=65_536)
def _read(cell: str, order: Order | None) -> str | Fault:
    days = sorted(set(_candidates(cell, order).values()))
    if len(days) == 1:
        return days[0].isoformat()
    if days:
        return Fault(
            "ambiguous_date",
            f"{shown(cell)} can be {' or '.join(day.isoformat() for day in days)}. "
            "Say with the option 'date_order' which comes first.",
        )
    if _TIME.search(cell) and not _MIDNIGHT.search(cell):
        return Fault("invalid_date", f"{shown(cell)} has a time of day; write the date alone.")
    how = f"Dates of this file are in the order {order}" if order else "Write it as in 2024-12-31"
    return Fault("invalid_date", f"{shown(cell)} is not a date. {how}.")


@lru_cache(maxsize=65_536)
def _candidates(cell: str, wanted: Order | None = None) -> dict[Order | None, date]:
    """What the day may be, by the order that says so; None: in any order."""
    if len(cell) > _MAX_CHARS or not cell:
        return {}
    text = _MIDNIGHT.sub("", cell.replace("\N{NO-BREAK SPACE}", " "))
    if found := _YEAR_FIRST.fullmatch(text):
        if not found[2] and len(text) != _COMPACT_CHARS:
            return {}
        return _only(_day(found[1], found[3], found[4]))
    if day := _with_month_name(text):
        return {None: day}
    if found := _NUMBERS.fullmatch(text):
        orders = (wanted,) if wanted else _LIKELY[found[2]]
        return dict(_in_orders((found[1], found[3], found[4]), orders))
    return {}


def _with_month_name(text: str) -> date | None:
    first, second = _DAY_NAME.fullmatch(text), _NAME_DAY.fullmatch(text)
    day = _day(first[3], _month(first[2]), first[1]) if first else None
    return day or (_day(second[3], _month(second[1]), second[2]) if second else None)


def _in_orders(
    numbers: tuple[str, str, str], orders: Sequence[Order]
) -> Iterator[tuple[Order, date]]:
    first, second, third = numbers
    if "dmy" in orders and (day := _day(third, second, first)):
        yield "dmy", day
    if "mdy" in orders and (day := _day(third, first, second)):
        yield "mdy", day
    if "ymd" in orders and len(third) == len("yy") and (day := _day(first, second, third)):
        yield "ymd", day


def _only(day: date | None) -> dict[Order | None, date]:
    return {None: day} if day else {}


def _month(name: str) -> str:
    return str(MONTHS.get(unaccented(name), 0))


def _day(year: str, month: str, day: str) -> date | None:
    number = int(year)
    if len(year) == len("yy"):
        number += 1900 if number >= _PIVOT else 2000
    try:
        return date(number, int(month), int(day))
    except ValueError:
        return None
