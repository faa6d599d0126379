"""Where a table ends: before totals, notes, blank lines, and the next table of the same file."""

import re
from collections.abc import Sequence

from app.tabular.kinds import EMPTY, TEXT, TYPED, agreement, kind
from app.tabular.regular import have_width

_TOTAL = re.compile(
    r"(?:(?:grand|sub|overall|column)[ -]?)?(?:totals?|totaux|total général|gesamt|insgesamt|summe|sum|"
    r"somme|totale|suma|totaal|gesamtsumme|average|mean|mittelwert|durchschnitt)\b[^,;]{0,40}",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"(?:notes?|source|sources|quelle|hinweis|anmerkung|fußnote|remarks?|generated|created|exported|"
    r"report|printed|updated|last updated|end of|copyright|disclaimer|contact|see|data|rows?|records?|erstellt|stand|"
    r"nota|fuente|fonte|bron|generado|total)\b|[*©†‡#]|--|==|__|\(\d+ rows?|\d+ (?:rows?|records?)\b|\[\d|\(\d\)",
    re.IGNORECASE,
)
_FEW = 12
_TITLE_ROWS = 3
_SAME_SHAPE = 2
_ROOMY = 3
_SEARCHED = 30

Records = Sequence[Sequence[str]]


class Ending:
    """What the body of a table is like; so the end of it can be told."""

    def __init__(self, columns: Sequence[str], kinds: Sequence[str]) -> None:
        self._width = len(columns)
        self._kinds = kinds
        self._columns = list(columns)
        self._typed = sum(each in TYPED for each in kinds)

    def next_table(self, records: Records) -> int | None:
        """Index of the record where another table (or what leads to it) begins, if one does."""
        if self._width < 2 or self.is_regular(records):  # noqa: PLR2004
            return None
        for index in range(1, len(records)):
            if not records[index] and records[index - 1] and self._begins_another(records, index):
                return index
        return self._stays_strange(records)

    def without_footer(self, records: Records) -> int:
        """How many of the table's last records are left without blank ones, totals and notes."""
        count = self._before_notes(records)
        while count:
            record = records[count - 1]
            if record and not self._is_footer(records, count - 1):
                return count
            count -= 1
        return 0

    def _before_notes(self, records: Records) -> int:
        """How many records there are before a last part of single texts, which a blank record sets apart."""
        start = count = len(records)
        while start and count - start < _SEARCHED and self._may_be_note(records[start - 1]):
            start -= 1
        gap = next((at for at in range(start, count) if not records[at]), count)
        return gap if any(records[gap:]) else count

    def _may_be_note(self, record: Sequence[str]) -> bool:
        if not record:
            return True
        return (
            self._width >= _ROOMY
            and self._is_title(record)
            and bool(record[0].strip())
            and kind(record[0]) == TEXT
        )

    def is_regular(self, records: Records) -> bool:
        """Whether every record has the table's width, and none is blank."""
        return have_width(records, self._width)

    def _begins_another(self, records: Records, blank: int) -> bool:
        """After a blank record: a header of something else, and no more rows of ours below it."""
        titles = 0
        for index in range(blank, min(blank + _SEARCHED, len(records))):
            record = records[index]
            if not record:
                continue
            if self._heads_another(record) and any(records[index + 1 : index + _SEARCHED]):
                return len(record) == self._width or not self._returns(records, index)
            titles += 1
            if self._is_ours(record) or not self._is_title(record) or titles > _TITLE_ROWS:
                return False
        return False

    def _heads_another(self, record: Sequence[str]) -> bool:
        cells = [cell for cell in record if cell.strip()]
        if len(cells) < 2 or list(record) == self._columns:  # noqa: PLR2004
            return False
        if any(kind(cell) in TYPED for cell in cells):
            return False
        if len(record) != self._width:
            return True
        same, other = agreement(record, self._kinds)
        return (
            self._typed > 0
            and same == 0
            and other
            == sum(
                1
                for cell, each in zip(record, self._kinds, strict=False)
                if each in TYPED and kind(cell) != EMPTY
            )
            and other > 0
        )

    def _is_title(self, record: Sequence[str]) -> bool:
        return sum(1 for cell in record if cell.strip()) == 1

    def _is_ours(self, record: Sequence[str]) -> bool:
        if len(record) != self._width:
            return False
        same, other = agreement(record, self._kinds)
        return (same > 0 and other <= same) or self._typed == 0

    def _returns(self, records: Records, first: int) -> bool:
        return any(
            len(records[index]) == self._width and self._is_ours(records[index])
            for index in range(first, len(records))
        )

    def _stays_strange(self, records: Records) -> int | None:
        """Without a blank record between: after the last row of our width only rows of one other width."""
        last = len(records) - 1
        while last >= 0 and len(records[last]) != self._width:
            last -= 1
        rest = [index for index in range(last + 1, len(records)) if len(records[index]) > 1]
        if len(rest) < 1 + _SAME_SHAPE or last < 0:
            return None
        width = len(records[rest[0]])
        alike = sum(len(records[index]) == width for index in rest)
        if alike < len(rest) - 1 or not self._heads_another(records[rest[0]]):
            return None
        return rest[0]

    def _is_footer(self, records: Records, index: int) -> bool:
        record = records[index]
        places = [place for place, cell in enumerate(record) if cell.strip()]
        if not places or self._width == 1:
            return not places
        after_blank = index > 0 and not records[index - 1]
        first = record[places[0]].strip()
        if len(places) == 1 and places[0] == 0:
            return self._is_note(first, after_blank=after_blank)
        if _TOTAL.fullmatch(first) and (after_blank or self._lacks(records, index, places)):
            return True
        if len(record) == self._width:
            return False
        return (
            self._width >= _ROOMY
            and len(record) < self._width
            and (
                _NOTE.match(first) is not None
                or (self._in_last_part(records, index) and kind(first) == TEXT)
            )
        )

    def _is_note(self, text: str, *, after_blank: bool) -> bool:
        if _NOTE.match(text) or _TOTAL.fullmatch(text):
            return True
        if kind(text) != TEXT:
            return False
        return after_blank or (self._width > 2 and " " in text)  # noqa: PLR2004

    def _in_last_part(self, records: Records, index: int) -> bool:
        """Whether a blank record stands shortly before, with nothing of ours in between."""
        for at in range(index - 1, max(index - _FEW, -1), -1):
            if not records[at]:
                return True
            if len(records[at]) == self._width:
                return False
        return False

    def _lacks(self, records: Records, index: int, places: Sequence[int]) -> bool:
        """Whether a total leaves something empty that the rows before it have."""
        before = [
            record for record in records[max(0, index - _FEW) : index] if len(record) == self._width
        ]
        always = {
            place
            for place in range(self._width)
            if before and all(row[place].strip() for row in before)
        }
        return not before or bool(always - set(places))
