"""Which column feeds which field: proposed from the columns' names and from what is in them.

What the caller says goes before any proposal, and a remembered mapping is what a caller said earlier.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.errors import Unprocessable
from app.imports.naming import PART, folded, matches
from app.imports.targets import PARENT_COLUMNS, Field, Target
from app.imports.values import ValueOptions

SAMPLE_ROWS = 200
"""More of a sample is not looked at."""
_MOSTLY = 0.8
_HARDLY = 0.2
_BESIDE = 0.9
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Guess:
    """What a column is taken for: a field, or "" for an attribute or, where `ignored`, for nothing.

    `confidence` is from 0 to 1; `reason` is a sentence for a person.
    """

    column: str
    field: str
    confidence: float
    reason: str
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A guess for each column, and the options with what the sample leaves no doubt about."""

    guesses: tuple[Guess, ...]
    options: ValueOptions

    @property
    def fields(self) -> list[str]:
        """The field of each column, "" for none: what the Cleaner takes."""
        return [guess.field for guess in self.guesses]


class _Offer(NamedTuple):
    confidence: float
    position: int
    field: str
    reason: str


def propose(
    target: Target,
    columns: Sequence[str],
    sample: Sequence[Sequence[str]] = (),
    options: ValueOptions | None = None,
) -> Proposal:
    """A mapping for a file with these columns that begins with the records of `sample`.

    The surest guess comes first: no field is fed by two columns, no column feeds two fields. Whether
    there is a key column is for `check_mapping` to say.
    """
    cells = _columns_of(sample, len(columns))
    offers = sorted(
        _offers(target, columns, cells), key=lambda one: (-one.confidence, one.position)
    )
    taken: dict[int, _Offer] = {}
    given: set[str] = set()
    for offer in offers:
        if offer.position not in taken and offer.field not in given:
            taken[offer.position] = offer
            given.add(offer.field)
    guesses = tuple(
        Guess(column, taken[index].field, taken[index].confidence, taken[index].reason)
        if index in taken
        else _left_over(target, column)
        for index, column in enumerate(columns)
    )
    return Proposal(guesses, decide(target, [one.field for one in guesses], sample, options))


def decide(
    target: Target,
    fields: Sequence[str],
    sample: Sequence[Sequence[str]],
    options: ValueOptions | None = None,
) -> ValueOptions:
    """The options with what the sample leaves no doubt about: which day order, which decimal sign.

    It is decided once, for the whole file, so that a value means the same in every chunk. What stays open
    is None, and values that could be read in two ways are rejected.
    """
    options = options or ValueOptions()
    cells = _columns_of(sample, len(fields))
    evidence: dict[str, set[str]] = {}
    for index, name in enumerate(fields):
        if name:
            for option, value in target.by_name[name].type.evidence(cells[index]):
                evidence.setdefault(option, set()).add(value)
    settled = {
        option: value
        for option, (value, *others) in evidence.items()
        if not others and getattr(options, option) is None
    }
    return ValueOptions.model_validate({**options.model_dump(), **settled})


def check_mapping(
    target: Target, columns: Sequence[str], fields: Sequence[str], mapping: Mapping[str, str]
) -> list[str]:
    """The field of each column: `mapping`, column name to field, over the proposed `fields`.

    A mapping to "" keeps the column as an attribute. Raises Unprocessable: `invalid_mapping` for a column
    or field that doesn't exist and for a field given to two columns; `no_email_column` (other targets:
    `no_key_column`) where no column holds the key.
    """
    wanted = _wanted(target, columns, mapping)
    given = {field for field in wanted.values() if field}
    left = ["" if field in given else field for field in fields]
    chosen = [
        wanted.get(folded(column), field) for column, field in zip(columns, left, strict=True)
    ]
    if target.key not in chosen:
        raise _no_key(target, columns)
    return chosen


def header_fingerprint(columns: Sequence[str]) -> str:
    """What makes two headers the same: the same names in the same order, but for case and white space."""
    text = json.dumps([folded(column) for column in columns])
    return hashlib.sha256(text.encode()).hexdigest()


def _offers(
    target: Target, columns: Sequence[str], cells: Sequence[Sequence[str]]
) -> Iterator[_Offer]:
    for index, column in enumerate(columns):
        if column.strip() in PARENT_COLUMNS:
            continue
        for field in target.fields:
            share = field.type.share(cells[index])
            enough = field.type.enough(cells[index]) and not matches(column, field.never)
            confidence, reason = _confidence(_named(field, column), share, enough)
            if confidence:
                yield _Offer(confidence, index, field.name, reason)
            elif other := _beside(field, column, columns):
                reason = f"It is called so, and {other!r} stands beside it."
                yield _Offer(_BESIDE, index, field.name, reason)


def _named(field: Field, column: str) -> float:
    """How much of a name of the field's the column has: 1 for all of it."""
    named = matches(column, (field.name, *field.names))
    return named or min(matches(column, field.also), PART)


def _beside(field: Field, column: str, columns: Sequence[str]) -> str | None:
    """The column that makes this one's name the field's."""
    for name, partner in field.beside.items():
        if matches(column, (name,)) == 1:
            return next((one for one in columns if matches(one, (partner,)) == 1), None)
    return None


def _confidence(named: float, share: float | None, enough: bool) -> tuple[float, str]:
    """How sure, by the column's name and the share of its values that look like the field's.

    `share` is None where values say nothing, as those of text do.
    """
    likely = share is not None and share >= _MOSTLY
    if named == 1:
        return _confidence_by_name(share)
    if named and likely:
        return 0.9, "The name contains the field's, and the values look right."
    if named and share is None:
        return named, "The name contains the field's."
    if likely and enough:
        return 0.8, "Its values look like it, whatever the column is called."
    return 0, ""


def _confidence_by_name(share: float | None) -> tuple[float, str]:
    if share is None:
        return 0.95, "The column has the field's name."
    if share >= _MOSTLY:
        return 1.0, "The column has the field's name, and its values look right."
    if share <= _HARDLY:
        return 0.3, "The column has the field's name, but its values look like something else."
    return 0.7, "The column has the field's name, but many values look like something else."


def _left_over(target: Target, column: str) -> Guess:
    if column.strip() in PARENT_COLUMNS:
        return Guess(column, "", 1.0, "It is part of a file of rejected rows.", ignored=True)
    if target.attributes is None:
        return Guess(column, "", 0.5, "No field fits, so it is left out.", ignored=True)
    return Guess(column, "", 0.5, "No field fits, so it is kept as an attribute.")


def _columns_of(sample: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    rows = [row for row in sample[:SAMPLE_ROWS] if len(row) == width]
    if not rows:
        return [[] for _ in range(width)]
    return [[cell.strip() for cell in cells if cell.strip()] for cells in zip(*rows, strict=True)]


def _wanted(target: Target, columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """The mapping by folded column name, checked."""
    known = [folded(column) for column in columns]
    wanted: dict[str, str] = {}
    for column, field in mapping.items():
        if folded(column) not in known:
            raise _bad(f"no column is called {column!r}. The columns are: {_listed(columns)}")
        if field and field not in target.by_name:
            fields = ", ".join(target.by_name)
            raise _bad(f"there is no field {field!r}. The fields are: {fields}")
        if field and field in wanted.values():
            raise _bad(f"two columns are mapped to {field!r}")
        if field and column.strip() in PARENT_COLUMNS:
            raise _bad(f"{column!r} belongs to a file of rejected rows and holds no values")
        if field and known.count(folded(column)) > 1:
            raise _bad(f"more than one column is called {column!r}; rename one")
        wanted[folded(column)] = field
    return wanted


def _bad(reason: str) -> Unprocessable:
    return Unprocessable(f"The mapping doesn't fit: {reason}", code="invalid_mapping")


def _no_key(target: Target, columns: Sequence[str]) -> Unprocessable:
    key = target.key_field
    return Unprocessable(
        f"No column holds the {key.label}. Name one {key.name!r}, or send a mapping such as "
        f'{{"<column>": "{key.name}"}}. The columns are: {_listed(columns)}',
        code="no_email_column" if key.name == "email" else "no_key_column",
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(" ".join(column.split())[:60]) for column in columns[:_LISTED])
    more = len(columns) - _LISTED
    return f"{shown}, and {more} more" if more > 0 else shown
