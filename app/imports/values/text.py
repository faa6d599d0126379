"""Text: kept as it is written, without the white space around it."""

from typing import ClassVar
from unicodedata import is_normalized, normalize

from typing_extensions import override

from app.imports.values.column import Column, FieldType, Parsed, ValueOptions, rounded


class Text(FieldType):
    """Text of at most `max_chars` characters; a non-breaking space is a space like any other."""

    name: ClassVar[str] = "text"

    def __init__(self, max_chars: int = 1000) -> None:
        self.max_chars = max_chars

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        if column.whole.isascii() or "\xa0" not in column.whole:
            return Parsed(column.cells)
        return Parsed([cell.replace("\xa0", " ") for cell in column.cells])


class Code(Text):
    """Text that tells one thing from another, such as an article number: upper and lower case differ,
    but two ways to write the same characters (Unicode NFC) and what nobody can see do not.
    """

    name: ClassVar[str] = "code"

    def __init__(self, max_chars: int = 200) -> None:
        super().__init__(max_chars)

    @override
    def parse(self, column: Column, options: ValueOptions) -> Parsed:
        ascii_only = column.whole.isascii()
        parsed = Parsed(column.cells if ascii_only else [_plain(cell) for cell in column.cells])
        if "E+" in column.whole:
            for index, cell in enumerate(column.cells):
                if fault := rounded(cell):
                    parsed.faults[index] = fault
                    parsed.values[index] = ""
        return parsed


def _plain(cell: str) -> str:
    if cell.isascii():
        return cell
    text = cell if is_normalized("NFC", cell) else normalize("NFC", cell)
    return text.replace("\xa0", " ").strip()
