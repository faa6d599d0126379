"""Values out of a fixed list, in any case, under any of their names."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from app.imports.values.column import Column, Fault, FieldType, Parsed, ValueOptions, shown
from app.imports.values.currency_codes import CURRENCY_CODES, CURRENCY_SIGNS

_LISTED = 12


class Choice(FieldType):
    """One of `values`: each may have other names, and is stored under its own."""

    name: ClassVar[str] = "choice"
    code: ClassVar[str] = "invalid_choice"

    def __init__(self, values: Mapping[str, Sequence[str]] | Sequence[str]) -> None:
        names = values if isinstance(values, Mapping) else dict.fromkeys(values, ())
        self._values = {
            _folded(name): value for value, others in names.items() for name in (value, *others)
        }
        self._listed = list(names)

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        values = self._values
        parsed = Parsed([values.get(cell, "") for cell in map(str.casefold, column.cells)])
        for index, (value, cell) in enumerate(zip(parsed.values, column.cells, strict=True)):
            if not value and cell:
                parsed.values[index] = found = values.get(_folded(cell), "")
                if not found:
                    parsed.faults[index] = Fault(self.code, self._wrong(cell))
        return parsed

    @override
    def looks_like(self, cell: str) -> bool:
        return _folded(cell) in self._values

    @override
    def enough(self, cells: Sequence[str]) -> bool:
        return False

    def _wrong(self, cell: str) -> str:
        shown_values = ", ".join(self._listed[:_LISTED])
        more = ", ..." if len(self._listed) > _LISTED else ""
        return f"{shown(cell)} is none of: {shown_values}{more}."


class Boolean(Choice):
    """Yes or no, in seven languages."""

    name: ClassVar[str] = "boolean"
    code: ClassVar[str] = "invalid_boolean"
    sql = "boolean"

    def __init__(self) -> None:
        super().__init__(
            {
                "true": [
                    "1",
                    "t",
                    "y",
                    "yes",
                    "on",
                    "x",
                    "ja",
                    "j",
                    "wahr",
                    "oui",
                    "vrai",
                    "si",
                    "sí",
                    "vero",
                    "sim",
                    "verdadeiro",
                    "verdadero",
                    "waar",
                ],
                "false": [
                    "0",
                    "f",
                    "n",
                    "no",
                    "off",
                    "nein",
                    "falsch",
                    "non",
                    "faux",
                    "falso",
                    "não",
                    "nao",
                    "nee",
                    "onwaar",
                ],
            }
        )

    @override
    def _wrong(self, cell: str) -> str:
        return f"{shown(cell)} is neither yes nor no. Write yes or no, true or false, or 1 or 0."


class Currency(Choice):
    """A currency's code of ISO 4217, in upper case; also signs that stand for one currency alone."""

    name: ClassVar[str] = "currency"
    code: ClassVar[str] = "invalid_currency"

    def __init__(self) -> None:
        signs: dict[str, list[str]] = {code: [] for code in sorted(CURRENCY_CODES)}
        for sign, code in CURRENCY_SIGNS.items():
            signs[code].append(sign)
        super().__init__(signs)

    @override
    def looks_like(self, cell: str) -> bool:
        """Words of three letters are common, so only what is written as currencies are counts."""
        return cell in CURRENCY_CODES or cell in CURRENCY_SIGNS

    @override
    def enough(self, cells: Sequence[str]) -> bool:
        return len(cells) >= self.certain_cells

    @override
    def _wrong(self, cell: str) -> str:
        if "$" in cell or "\N{YEN SIGN}" in cell:
            return f"{shown(cell)} stands for several currencies. Write the code, such as USD."
        return f"{shown(cell)} is not a currency's code. Write it as in EUR, USD or GBP (ISO 4217)."


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()
