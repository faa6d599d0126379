"""Phone numbers, by the library that Android uses, at a million a few seconds.

The library takes more than 50 microseconds a number, so it sees only those that are not plain, and each of
them once.
"""

import re
from functools import lru_cache
from typing import ClassVar

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    ValidationResult,
)
from typing_extensions import override

from app.imports.values.column import (
    Column,
    Fault,
    FieldType,
    Parsed,
    ValueOptions,
    rounded,
    shown,
)
from app.imports.values.phone_plain import plain_numbers

_INTERNATIONAL = re.compile(r"\(?\s*[+\N{FULLWIDTH PLUS SIGN}]")
_LOOKS = re.compile(r"\(?\+?[(\d][\d ()./\N{NO-BREAK SPACE}-]{5,22}\d")
_LOOKS_OTHERWISE = re.compile(
    r"\d{1,3}(?: \d{3})+|\d{1,2}[./ -]\d{1,2}[./ -](?:\d{2}|\d{4})(?: \d{1,2}:.*)?|\d{4}[./ -]\d{1,2}[./ -]\d{1,2}.*"
)
"""Large numbers in groups of three, and dates."""
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15
_DIGIT = re.compile(r"\d")
_SECOND_NUMBER = re.compile(r"[\\/] *x")
"""The library stops reading there, and what follows would be lost."""
_MAX_CHARS = 250
_NO_COUNTRY = "No country has this calling code."
_NOT_A_NUMBER = "Write it with its country, such as +44 20 7946 0958."
_WHY = {
    ValidationResult.INVALID_COUNTRY_CODE: _NO_COUNTRY,
    ValidationResult.TOO_SHORT: "It has too few digits for its country.",
    ValidationResult.TOO_LONG: "It has too many digits for its country.",
    ValidationResult.INVALID_LENGTH: "No number of its country has so many digits.",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "The area code is missing.",
}
_WHY_UNREADABLE = {
    NumberParseException.INVALID_COUNTRY_CODE: _NO_COUNTRY,
    NumberParseException.TOO_SHORT_AFTER_IDD: _WHY[ValidationResult.TOO_SHORT],
    NumberParseException.TOO_SHORT_NSN: _WHY[ValidationResult.TOO_SHORT],
    NumberParseException.TOO_LONG: _WHY[ValidationResult.TOO_LONG],
}


class Phone(FieldType):
    """A number in E.164, such as +442079460958, when it begins with + or the region is known.

    Any other text is kept as it is written: nobody can say which country it belongs to.
    """

    name: ClassVar[str] = "phone"

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        region = options.phone_region
        if region is None and not _INTERNATIONAL.search(column.whole):
            return Parsed(column.cells)
        parsed = Parsed(plain_numbers(column, region))
        for index, (value, cell) in enumerate(zip(parsed.values, column.cells, strict=True)):
            if not value and cell:
                _check(parsed, index, cell, region)
        return parsed

    @override
    def looks_like(self, cell: str) -> bool:
        digits = len(_DIGIT.findall(cell))
        if not _FEWEST_DIGITS <= digits <= _MOST_DIGITS or not _LOOKS.fullmatch(cell):
            return False
        if _INTERNATIONAL.match(cell) or cell.startswith("("):
            return True
        separated = any(sign in cell for sign in " /()") or (
            cell[0] == "0" and not cell.isdecimal()
        )
        return separated and not _LOOKS_OTHERWISE.fullmatch(cell)


def _check(parsed: Parsed, index: int, cell: str, region: str | None) -> None:
    if fault := rounded(cell):
        parsed.faults[index] = fault
        return
    if region is None and not _INTERNATIONAL.match(cell):
        parsed.values[index] = cell
        return
    value, why = _normalized(cell, region)
    parsed.values[index] = value
    if why:
        message = f"{shown(cell)} is not a phone number. {why}"
        parsed.faults[index] = Fault("invalid_phone", message)


@lru_cache(maxsize=65_536)
def _normalized(cell: str, region: str | None) -> tuple[str, str]:
    """The number and no reason; or "" and why it isn't one. An extension is kept behind the number."""
    if len(cell) > _MAX_CHARS or _SECOND_NUMBER.search(cell):
        return "", _NOT_A_NUMBER
    try:
        number = phonenumbers.parse(cell, region)
    except NumberParseException as error:
        return "", _WHY_UNREADABLE.get(error.error_type, _NOT_A_NUMBER)
    verdict = phonenumbers.is_possible_number_with_reason(number)
    if verdict != ValidationResult.IS_POSSIBLE:
        return "", _WHY.get(verdict, _NOT_A_NUMBER)
    text = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return (f"{text} ext. {number.extension}" if number.extension else text), ""
