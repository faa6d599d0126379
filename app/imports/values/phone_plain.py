"""Phone numbers that need no library, found a column at a time.

What a country's numbers look like, and which leading digits need a closer look, is taken from the library's
own tables into regular expressions. A property test holds both ways equal.
"""

import re
from functools import lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from app.imports.values.column import Column

_PUNCTUATION = str.maketrans("", "", " ()-.\N{NO-BREAK SPACE}")
_NEVER = "(?!)"


def plain_numbers(column: Column, region: str | None = None) -> list[str]:
    """Each cell's number in E.164, or "" where the library must look: also where there is no number."""
    found = _international.numbers(column)
    if region is None or all(found):
        return found
    national = _national(region, column)
    return [one or other for one, other in zip(found, national, strict=True)]


def _national(region: str, column: Column) -> list[str]:
    """Numbers as people of the region write them."""
    code, lines = _region(region.upper())
    if not code or not column.one_line_each():
        return [""] * len(column.cells)
    found = lines.findall(column.lines().translate(_PUNCTUATION))
    return [f"{code}{bare or dialled}" if bare or dialled else "" for bare, dialled in found]


@lru_cache
def _region(region: str) -> tuple[str, re.Pattern[str]]:
    """What a region's numbers begin with, and the expression that takes their national part.

    A number is plain if it is a whole one of the region, by itself or behind the national prefix, and can't
    be taken for one that begins with the region's calling code or an international prefix.
    """
    metadata = PhoneMetadata.metadata_for_region(region)
    number = metadata.general_desc if metadata else None
    if metadata is None or number is None or not number.national_number_pattern:
        return "", re.compile(_NEVER)
    whole = _uncaptured(number.national_number_pattern)
    prefix = metadata.national_prefix_for_parsing
    dialled = metadata.national_prefix
    simple = dialled if dialled and f"{prefix}|".startswith(f"{dialled}|") else _NEVER
    if metadata.national_prefix_transform_rule:
        return "", re.compile(_NEVER)
    abroad = _uncaptured(metadata.international_prefix or _NEVER)
    return f"+{metadata.country_code}", re.compile(
        rf"^(?:(?!{metadata.country_code}|{abroad})(?=[0-9]+$)(?:"
        rf"(?!{_uncaptured(prefix or _NEVER)})({whole})|(?!(?:{whole})$){simple}({whole}))|.*)$",
        re.MULTILINE,
    )


def _uncaptured(pattern: str) -> str:
    return f"(?:{re.sub(r'[(](?![?])', '(?:', pattern)})"


class _International:
    """Recognizes international numbers of the calling codes that have been met."""

    def __init__(self) -> None:
        self._codes: dict[int, str] = {}
        self._lines = re.compile("^()", re.MULTILINE)
        self._number = self._lines

    def numbers(self, column: Column) -> list[str]:
        """Each cell's number, or "" where it isn't a plain one."""
        if not column.one_line_each():
            cells = [cell.translate(_PUNCTUATION) for cell in column.cells]
            self._learn(cells)
            return [cell if self._number.fullmatch(cell) else "" for cell in cells]
        lines = column.lines().translate(_PUNCTUATION)
        found = self._lines.findall(lines)
        if "" in found and self._learn(
            [line for line, plain in zip(lines.split("\n"), found, strict=False) if not plain]
        ):
            found = self._lines.findall(lines)
        return found

    def _learn(self, cells: list[str]) -> bool:
        """Add the calling codes in these cells. Returns whether there were new ones."""
        heads = {cell[1:4] for cell in cells if cell.startswith("+")}
        codes = {code for head in heads if (code := _calling_code(head))} - self._codes.keys()
        if not codes:
            return False
        known = {**self._codes, **{code: _expression(code) for code in codes}}
        number = "|".join(f"{code}{rest}" for code, rest in known.items())
        self._lines = re.compile(rf"^(?:(\+(?:{number}))|.*)$", re.MULTILINE)
        self._number = re.compile(rf"\+(?:{number})")
        self._codes = known
        return True


_international = _International()


def _calling_code(head: str) -> int | None:
    if not head.isascii() or not head.isdecimal():
        return None
    codes = (int(head[:length]) for length in range(1, len(head) + 1))
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)


def _expression(code: int) -> str:
    """What follows the calling code in a plain number: nothing that the library might strip as a national
    prefix, and as many digits as the country's numbers have.
    """
    region = COUNTRY_CODE_TO_REGION_CODE[code][0]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if metadata is None or metadata.general_desc is None:
        return _NEVER
    prefix = metadata.national_prefix_for_parsing
    stripped = _uncaptured(prefix or _NEVER)
    lengths = "|".join(f"[0-9]{{{n}}}" for n in metadata.general_desc.possible_length if n > 1)
    return f"(?!{stripped})(?:{lengths or _NEVER})"
