"""Records of the right width that are not rows all the same, or were written in another manner."""

from collections.abc import Sequence

from app.tabular.foreign import Fits, anything
from app.tabular.grammar import Grammar
from app.tabular.kinds import TYPED, agreement
from app.tabular.layout import Layout
from app.tabular.regular import Records, Regular, column_of

_MIN_WIDTH = 3
_SPACES = " \U0010ffff"


_DRAWN = "-=_+|: \t"
_LINES = ("--", "==", "__")


def is_blank(record: Sequence[str]) -> bool:
    """Whether there is nothing in the record but spaces."""
    return not any(map(str.strip, record))


def is_rule(record: Sequence[str]) -> bool:
    """Whether the record is a line drawn below a header or around a table: dashes in every cell."""
    text = "".join(record)
    if not text.strip() or text.strip(_DRAWN):
        return False
    return any(line in text for line in _LINES) and all(map(_drawn, record))


def _drawn(cell: str) -> bool:
    return not cell.strip() or any(mark in cell for mark in "-=_")


def fits_kinds(kinds: Sequence[str]) -> Fits:
    """Whether cells have the kinds of the columns: some value does, and none is a word instead."""
    if not any(each in TYPED for each in kinds):
        return anything

    def fits(cells: list[str]) -> bool:
        same, other = agreement(cells, kinds)
        return same > 0 and other == 0

    return fits


class TouchUp:
    """Empties blank records and repeated headers; takes foreign spaces and quotes off a row's cells.

    Looks at single records only where the block's text shows that there is something to find.
    """

    def __init__(self, layout: Layout) -> None:
        self._grammar = Grammar.of(layout)
        self._columns = list(layout.columns)
        self._width = len(layout.columns)
        self._headings = _headings(layout)
        self._ruled = layout.ruled
        self._other_quote = "'" if self._grammar.quote == '"' else '"'

    def __call__(self, found: Records, text: str) -> tuple[Records, int]:
        """The records of a text as they are to be taken, and the number of those that were repaired.

        The text is searched first, which costs little; the records are looked at only where that finds
        something.
        """
        spaces = f"{self._grammar.delimiter} " in text or self._width < _MIN_WIDTH
        spaces = spaces and _lowest(found, min(1, self._width - 1)) <= _SPACES
        blanks = self._have_blanks(found)
        headings = self._may_have_headings(found, text)
        quotes = self._may_be_quoted(text)
        if not (blanks or spaces or headings or quotes or self._ruled):
            return found, 0
        records = list(found)
        if blanks:
            self.empty_blanks(records)
        if self._ruled:
            empty_rules(records)
        if headings:
            for index, record in enumerate(records):
                if record == self._columns:
                    records[index] = []
        repaired = self._spaced(records) if spaces else 0
        return records, repaired + (self._quoted(records) if quotes else 0)

    def _have_blanks(self, found: Records) -> bool:
        """Whether some may be: their first cell is, and their last one."""
        if isinstance(found, Regular):
            firsts, lasts = found.columns[0], found.columns[-1]
            return not all(map(str.strip, firsts)) and any(
                not first.strip() and not last.strip()
                for first, last in zip(firsts, lasts, strict=True)
            )
        return any(not record[0].strip() and not record[-1].strip() for record in found if record)

    def _may_have_headings(self, found: Records, text: str) -> bool:
        if isinstance(found, Regular) and self._columns[0] not in found.columns[0]:
            return False
        return any(heading in text for heading in self._headings)

    def empty_blanks(self, records: list[list[str]]) -> None:
        """An empty list in place of each record with nothing but spaces in it."""
        for index, record in enumerate(records):
            if record and not record[0].strip() and is_blank(record):
                records[index] = []

    def _spaced(self, records: list[list[str]]) -> int:
        """A row in which a space follows every delimiter, in a file that has none there."""
        if self._grammar.skip_space or self._width < _MIN_WIDTH:
            return 0
        found = 0
        for index, record in enumerate(records):
            if (
                len(record) == self._width
                and record[1][:1] == " "
                and record[-1][:1] == " "
                and all(cell[:1] == " " and cell[1:2] != " " for cell in record[1:])
            ):
                records[index] = [record[0], *(self._bare(cell[1:]) for cell in record[1:])]
                found += 1
        return found

    def _bare(self, cell: str) -> str:
        quote = self._grammar.quote
        if quote and len(cell) > 1 and cell[0] == quote == cell[-1]:
            return cell[1:-1].replace(quote * 2, quote)
        return cell

    def _may_be_quoted(self, text: str) -> bool:
        quote = self._other_quote
        return quote in text and self._width > 1 and quote + self._grammar.delimiter + quote in text

    def _quoted(self, records: list[list[str]]) -> int:
        """A row all of whose cells have the other kind of quotes around them."""
        quote = self._other_quote
        found = 0
        for index, record in enumerate(records):
            if record and record[0][:1] == quote and self._is_wrapped(record):
                records[index] = [cell[1:-1].replace(quote * 2, quote) for cell in record]
                found += 1
        return found

    def _is_wrapped(self, record: list[str]) -> bool:
        quote = self._other_quote
        return len(record) == self._width and all(
            not cell or (len(cell) > 1 and cell[0] == quote == cell[-1]) for cell in record
        )


def empty_rules(records: list[list[str]]) -> bool:
    """An empty list in place of each line that is drawn; whether there was any."""
    drawn = [index for index, record in enumerate(records) if record and is_rule(record)]
    for index in drawn:
        records[index] = []
    return bool(drawn)


def _lowest(records: Records, column: int) -> str:
    """The least cell of a column: above _SPACES only if none is empty or begins with a space."""
    try:
        return min(column_of(records, column), default="")
    except IndexError:
        return ""


def _headings(layout: Layout) -> tuple[str, ...]:
    """What is in the text wherever a header of one row is repeated as it was, with or without quotes."""
    if len(layout.header_rows) != 1 or len(layout.columns) < 2:  # noqa: PLR2004
        return ()
    quote, delimiter = layout.quote or "", layout.delimiter
    return delimiter.join(layout.columns), f"{quote}{delimiter}{quote}".join(layout.columns)
