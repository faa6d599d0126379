"""The header: is there one, and which column feeds which field of a contact."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import Unprocessable, UnsupportedMediaType
from app.imports.records import BOM, RecordReader, is_blank, is_utf8

FIELDS = ("email", "first_name", "last_name", "company", "phone")
HEAD_BYTES = 1024 * 1024 + 4096
"""How much of the file `read_header` may need to see: one line of the longest kind."""
_SNIFF_BYTES = 8192
_MAX_COLUMNS = 2000

_SYNONYMS = {
    "email": ("email", "emailaddress", "mail", "emailaddr"),
    "first_name": ("firstname", "first", "givenname", "forename"),
    "last_name": ("lastname", "last", "surname", "familyname"),
    "company": ("company", "companyname", "organisation", "organization", "employer"),
    "phone": ("phone", "phonenumber", "telephone", "tel", "mobile", "contactphone"),
}
_FIELD_OF = {name: field for field, names in _SYNONYMS.items() for name in names}
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


@dataclass(frozen=True, slots=True)
class Header:
    """`columns` as sent; `fields[i]` is the contact field of column i, or "" for an attribute."""

    columns: list[str]
    fields: list[str]


def read_header(head: bytes, mapping: Mapping[str, str] | None = None) -> Header:
    """The header of a file that begins with `head` (all of it, or at least HEAD_BYTES).

    Raises UnsupportedMediaType for binary data and for text that isn't UTF-8, Unprocessable for an
    empty file, a missing header, a mapping that doesn't fit, and for want of an e-mail column.
    """
    check_text(head)
    columns = _first_record(head)
    _check_storable(columns)
    if any(_ADDRESS.fullmatch(column.strip()) for column in columns):
        raise Unprocessable(
            "The first row has an e-mail address in it, so it looks like data. "
            "Add a header row with column names, such as: email,first_name,last_name",
            code="no_header",
        )
    if len(columns) > _MAX_COLUMNS:
        raise Unprocessable(
            f"The header has {len(columns)} columns; at most {_MAX_COLUMNS} are read.",
            code="too_many_columns",
        )
    fields = map_columns(columns, mapping or {})
    if "email" not in fields:
        raise Unprocessable(
            "No column holds e-mail addresses. Name one 'email', or send a mapping such as "
            f'{{"<column>": "email"}}. The columns are: {_listed(columns)}',
            code="no_email_column",
        )
    return Header(columns, fields)


def check_text(head: bytes, *, more: bool = False) -> None:
    """Refuse binary data and text that isn't UTF-8, by the first 8 KiB; `more` bytes may follow."""
    sniff = head[:_SNIFF_BYTES]
    if b"\x00" in sniff or sniff.startswith(
        (b"\xff\xfe", b"\xfe\xff", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")
    ):
        raise UnsupportedMediaType(
            "This is not a CSV file in UTF-8 but binary data or UTF-16. "
            "Save it as 'CSV UTF-8' and send it again.",
            code="binary_file",
        )
    try:
        sniff.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_short = more or len(head) > _SNIFF_BYTES
        if not (cut_short and error.reason == "unexpected end of data"):
            raise UnsupportedMediaType(
                f"The file is not in UTF-8 (byte {error.start + 1}). "
                "Save it as 'CSV UTF-8' and send it again.",
                code="not_utf8",
            ) from error


def _check_storable(columns: list[str]) -> None:
    """Refuse a header that PostgreSQL's text can't hold, beyond the bytes that `check_text` sees."""
    whole = "".join(columns)
    if "\x00" in whole:
        raise UnsupportedMediaType(
            "The header row has a NUL character in it. Remove it and send the file again.",
            code="binary_file",
        )
    if not is_utf8(whole):
        raise UnsupportedMediaType(
            "The header row is not in UTF-8. Save the file as 'CSV UTF-8' and send it again.",
            code="not_utf8",
        )


def map_columns(columns: list[str], mapping: Mapping[str, str]) -> list[str]:
    """The field of each column: by `mapping` where it names the column, else by the column's name.

    A mapping to the empty string keeps the column as an attribute. Raises Unprocessable for a column
    or field that doesn't exist and for a field that the mapping gives to two columns.
    """
    wanted = _checked(columns, mapping)
    fields = [wanted.get(_folded(column), "") for column in columns]
    taken = {field for field in fields if field}
    for index, column in enumerate(columns):
        guess = _FIELD_OF.get(re.sub(r"[^a-z0-9]", "", column.lower()), "")
        if guess and guess not in taken and _folded(column) not in wanted:
            fields[index] = guess
            taken.add(guess)
    return fields


def _checked(columns: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    known = {_folded(column) for column in columns}
    wanted: dict[str, str] = {}
    for column, field in mapping.items():
        if _folded(column) not in known:
            raise _bad_mapping(
                f"no column is called {column!r}. The columns are: {_listed(columns)}"
            )
        if field and field not in FIELDS:
            raise _bad_mapping(f"there is no field {field!r}. The fields are: {', '.join(FIELDS)}")
        if field and field in wanted.values():
            raise _bad_mapping(f"two columns are mapped to {field!r}")
        wanted[_folded(column)] = field
    repeated = [c for c in wanted if wanted[c] and sum(_folded(x) == c for x in columns) > 1]
    if repeated:
        raise _bad_mapping(f"more than one column is called {repeated[0]!r}; rename one")
    return wanted


def _bad_mapping(reason: str) -> Unprocessable:
    return Unprocessable(f"The mapping doesn't fit: {reason}", code="invalid_mapping")


def _first_record(head: bytes) -> list[str]:
    if not head.removeprefix(BOM).strip():
        raise Unprocessable(
            "The file is empty. Send a CSV file with a header row.", code="empty_file"
        )
    for cells, error in RecordReader([head]):
        if error is not None:
            raise Unprocessable(f"The header row is not valid CSV: {error}.", code="no_header")
        if not is_blank(cells):
            return cells
    raise Unprocessable("The file has no header row: every line is empty.", code="no_header")


def _folded(column: str) -> str:
    return " ".join(column.split()).casefold()


def _listed(columns: list[str], limit: int = 20) -> str:
    shown = ", ".join(repr(" ".join(column.split())[:60]) for column in columns[:limit])
    return shown if len(columns) <= limit else f"{shown}, and {len(columns) - limit} more"
