"""Numbers: with a decimal point or comma, in groups of thousands, with currency signs.

`options.decimal` says what begins the decimals, and is then held strictly: a value that is no number with
that sign is rejected. Without it, a value counts that is a number with one sign only, or means the same
with both; "1,234" and "1.234" are rejected rather than guessed.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from typing_extensions import override

from app.imports.values.column import Column, Fault, FieldType, Parsed, ValueOptions, shown
from app.imports.values.reading import SIGNS, Number, Sign, has_currency, readings

_MAX_CHARS = 100
_WHOLE = r"-?(?:0|[1-9][0-9]{0,8})"


class _NumberType(FieldType):
    """What decimals and integers have in common: a quick look at the column, a closer one at odd cells."""

    max_chars = _MAX_CHARS

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        parsed = Parsed(self._plain(column, options.decimal))
        for index, (value, cell) in enumerate(zip(parsed.values, column.cells, strict=True)):
            if not value and cell:
                found = self._closer(cell, options.decimal)
                if isinstance(found, Fault):
                    parsed.faults[index] = found
                else:
                    parsed.values[index] = found
        return parsed

    def _plain(self, column: Column, sign: Sign | None) -> list[str]:
        """The cells that are plain numbers, "" for all others."""
        if not column.one_line_each():
            return [""] * len(column.cells)
        found: list[str] = self._lines(sign).findall(column.lines())
        if sign != "," or "," not in column.whole:
            return found
        return "\n".join(found).replace(",", ".").split("\n")

    def _lines(self, sign: Sign | None) -> re.Pattern[str]:
        raise NotImplementedError

    def _closer(self, cell: str, sign: Sign | None) -> str | Fault:
        raise NotImplementedError

    def _candidates(self, cell: str) -> dict[Sign, Number]:
        """What the cell means with each decimal sign; without those with which it is no number."""
        if len(cell) > _MAX_CHARS:
            return {}
        read = readings(cell)
        return {sign: one for sign in SIGNS if (one := read.by(sign)) is not None}

    def _chosen(self, cell: str, sign: Sign | None) -> Number | Fault:
        found = self._candidates(cell)
        if sign is not None:
            found = {one: number for one, number in found.items() if one == sign}
        if not found:
            return self._no_number(cell, sign)
        number, *others = dict.fromkeys(found.values())
        return self._ambiguous(cell, number, others[0]) if others else number

    def _no_number(self, cell: str, sign: Sign | None) -> Fault:
        return Fault(f"invalid_{self.name}", f"{shown(cell)} is not a number. {_as_in(sign)}")

    def _ambiguous(self, cell: str, one: Number, other: Number) -> Fault:
        return Fault(
            "ambiguous_number",
            f"{shown(cell)} can be read as {one} or as {other}. "
            "Say with the option 'decimal' which sign begins the decimals.",
        )

    @override
    def looks_like(self, cell: str) -> bool:
        return bool(self._candidates(cell))

    @override
    def enough(self, cells: Sequence[str]) -> bool:
        return False

    @override
    def evidence(self, cells: Sequence[str]) -> set[tuple[str, str]]:
        found = (self._candidates(cell) for cell in cells)
        return {("decimal", next(iter(signs))) for signs in found if len(signs) == 1}


def _as_in(sign: Sign | None) -> str:
    if sign is None:
        return "Write it as in 1234.50."
    return f"Numbers of this file have a decimal {_NAMES[sign]}, as in 1234{sign}50."


_NAMES = {".": "point", ",": "comma"}


class Decimal(_NumberType):
    """A number of at most `digits` digits, `scale` of them decimals. More are rejected, not rounded."""

    name: ClassVar[str] = "decimal"

    def __init__(self, digits: int = 14, scale: int = 4) -> None:
        self._whole_digits, self._scale = digits - scale, scale
        self.sql = f"numeric({digits},{scale})"

    @override
    def _lines(self, sign: Sign | None) -> re.Pattern[str]:
        return _decimal_lines(sign, self._whole_digits, self._scale)

    @override
    def _closer(self, cell: str, sign: Sign | None) -> str | Fault:
        number = self._chosen(cell, sign)
        if isinstance(number, Fault):
            return number
        if len(number.fraction) > self._scale:
            message = f"{shown(cell)} has more than {self._scale} decimals; round it."
            return Fault("too_many_decimals", message)
        if len(number.whole) > self._whole_digits:
            message = f"{shown(cell)} is too large; at most {self._whole_digits} digits are kept."
            return Fault("number_too_large", message)
        return str(number)

    @override
    def enough(self, cells: Sequence[str]) -> bool:
        """Only a currency tells a price from any other number."""
        return bool(cells) and all(map(has_currency, cells))


class Integer(_NumberType):
    """A whole number from `least` to `most`; 12.0 is one too."""

    name: ClassVar[str] = "integer"
    sql = "integer"

    def __init__(self, least: int = -(2**31), most: int = 2**31 - 1) -> None:
        self._least, self._most = least, most

    @override
    def _lines(self, sign: Sign | None) -> re.Pattern[str]:
        return _INTEGER_LINES if self._least <= -_PLAIN and self._most >= _PLAIN else _NO_LINES

    @override
    def _candidates(self, cell: str) -> dict[Sign, Number]:
        found = super()._candidates(cell)
        return {sign: number for sign, number in found.items() if not number.fraction}

    @override
    def _closer(self, cell: str, sign: Sign | None) -> str | Fault:
        number = self._chosen(cell, sign)
        if isinstance(number, Fault):
            return number
        if not self._least <= int(str(number)) <= self._most:
            message = f"{shown(cell)} is not from {self._least} to {self._most}."
            return Fault("number_out_of_range", message)
        return str(number)

    @override
    def _no_number(self, cell: str, sign: Sign | None) -> Fault:
        return Fault(
            "invalid_integer", f"{shown(cell)} is not a whole number. Write it as in 1234."
        )


_GROUP = 3
_PLAIN = 999_999_999
_INTEGER_LINES = re.compile(rf"^(?:({_WHOLE})|.*)$", re.MULTILINE)
_NO_LINES = re.compile(r"^()", re.MULTILINE)


@lru_cache
def _decimal_lines(sign: Sign | None, whole_digits: int, scale: int) -> re.Pattern[str]:
    """Finds the numbers that need no closer look: without a sign that is known, three decimals do."""
    whole = rf"-?(?:0|[1-9][0-9]{{0,{max(whole_digits - 1, 0)}}})"
    if sign is not None:
        fraction = rf"{re.escape(sign)}[0-9]{{1,{scale}}}"
    else:
        lengths = [n for n in range(1, scale + 1) if n != _GROUP]
        fraction = "|".join(rf"\.[0-9]{{{n}}}" for n in lengths) or "(?!)"
    return re.compile(rf"^(?:({whole}(?:{fraction})?)|.*)$", re.MULTILINE)
