"""From cells to contacts: clean, validate, say why not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

from app.imports.emails import InvalidEmail, check_email
from app.imports.header import FIELDS
from app.imports.records import Record, is_blank, is_utf8

MAX_FIELD_CHARS = 1000
MAX_ATTRIBUTE_CHARS = 10_000


class ContactRow(NamedTuple):
    """A row ready for the database; None where the file says nothing. `attributes` is JSON text."""

    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    phone: str | None
    attributes: str


class Reject(NamedTuple):
    """A row that can't be imported; `column` is None when the row as a whole is at fault."""

    row_number: int
    column: str | None
    code: str
    message: str
    cells: list[str]


class _Invalid(Exception):
    def __init__(self, column: str | None, code: str, message: str) -> None:
        super().__init__(message)
        self.column, self.code, self.message = column, code, message


@dataclass(slots=True)
class CleanRows:
    """What a run of rows came to. `total` counts the rows that aren't blank."""

    total: int = 0
    contacts: list[ContactRow] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class ContactCleaner:
    """Cleans rows of one file; made once per chunk from the header."""

    def __init__(self, columns: list[str], fields: list[str]) -> None:
        self._columns = columns
        self._width = len(columns)
        positions = {name: index for index, name in enumerate(fields) if name}
        self._email = positions["email"]
        self._plain = [positions.get(name) for name in FIELDS[1:]]
        names = attribute_names(columns)
        self._extra = [
            (index, _quoted(names[index])) for index, name in enumerate(fields) if not name
        ]

    def clean(
        self, rows: Iterable[Record], *, first_row: int, superseded: dict[int, int]
    ) -> CleanRows:
        """Clean a run of records, numbered from `first_row`; `superseded` maps a row to its winner."""
        result = CleanRows()
        for number, record in enumerate(rows, first_row):
            try:
                row = self._row(record, superseded.get(number) if superseded else None)
            except _Invalid as bad:
                cells = [_shown(cell) for cell in record[0]]
                result.rejects.append(Reject(number, bad.column, bad.code, bad.message, cells))
            else:
                if row is None:
                    continue
                result.contacts.append(row)
            result.total += 1
        return result

    def _row(self, record: Record, winner: int | None) -> ContactRow | None:
        """The row; None when it is blank. The usual row takes about 4 microseconds: keep it so."""
        cells, error = record
        if error is not None:
            raise _Invalid(None, "invalid_csv", f"The row is not valid CSV: {error}.")
        if len(cells) != self._width or not cells[self._email].strip():
            self._check_shape(cells)
            return None
        try:
            email = check_email(cells[self._email])
        except InvalidEmail as bad:
            raise _Invalid(self._columns[self._email], "invalid_email", str(bad)) from None
        if winner is not None:
            raise _superseded(winner, self._columns[self._email])
        whole = "".join(cells)
        if len(whole) > MAX_FIELD_CHARS or not whole.isascii() or "\x00" in whole:
            self._check_values(cells)
        first, last, company, phone = [
            None if index is None else cells[index].strip() or None for index in self._plain
        ]
        return ContactRow(email, first, last, company, phone, self._attributes(cells))

    def _attributes(self, cells: list[str]) -> str:
        members = [
            f"{name}: {_quoted(value)}"
            for index, name in self._extra
            if (value := cells[index].strip())
        ]
        return "{" + ", ".join(members) + "}"

    def _check_shape(self, cells: list[str]) -> None:
        """Raise for a row of another width or without an address, unless it is blank."""
        if is_blank(cells):
            return
        if len(cells) != self._width:
            raise _Invalid(
                None,
                "cell_count",
                f"The row has {len(cells)} cells where the header has {self._width}.",
            )
        raise _Invalid(
            self._columns[self._email], "missing_email", "The e-mail address is missing."
        )

    def _check_values(self, cells: list[str]) -> None:
        """Raise for what is too long, and for what PostgreSQL's text can't hold: NUL, and bytes that
        are not UTF-8 (here: lone surrogates).
        """
        attributes = {index for index, _ in self._extra}
        for index, value in enumerate(cells):
            limit = MAX_ATTRIBUTE_CHARS if index in attributes else MAX_FIELD_CHARS
            if len(value) > limit:
                raise self._bad(
                    index,
                    "too_long",
                    f"The value has {len(value)} characters; at most {limit} are kept.",
                )
            if "\x00" in value:
                raise self._bad(
                    index, "nul_character", "The value has a NUL character in it; remove it."
                )
            if not is_utf8(value):
                raise self._bad(
                    index, "not_utf8", "The value is not UTF-8; save the file as 'CSV UTF-8'."
                )

    def _bad(self, index: int, code: str, message: str) -> _Invalid:
        return _Invalid(self._columns[index], code, message)


def _superseded(winner: int, column: str) -> _Invalid:
    return _Invalid(
        column,
        "duplicate",
        f"Row {winner} has the same e-mail address and comes later, so it wins.",
    )


def _shown(cell: str) -> str:
    """The cell as it can be kept: what PostgreSQL can't hold becomes the replacement character."""
    if cell.isascii() and "\x00" not in cell:
        return cell
    readable = cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return readable.replace("\x00", "\ufffd")


def attribute_names(columns: list[str]) -> list[str]:
    """A name for each column that is unique in the file: `column 3` for an empty one, `x (2)` for a
    repeated one.
    """
    names: dict[str, None] = {}
    for position, column in enumerate(columns, 1):
        plain = name = " ".join(column.split()) or f"column {position}"
        for again in count(2):
            if name not in names:
                break
            name = f"{plain} ({again})"
        names[name] = None
    return list(names)
