"""What an import of a file would do to its first rows, from the file's beginning; at no effect."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO, Literal
from uuid import UUID

from sqlalchemy import Connection

from app.errors import Unprocessable
from app.imports.acceptance import good_records
from app.imports.apply import Tally
from app.imports.cleaning import Cleaned, Cleaner, Reject
from app.imports.compare import Action, Change, compare
from app.imports.mapping import SAMPLE_ROWS, Guess, check_mapping, decide, propose
from app.imports.naming import folded
from app.imports.options import ImportOptions
from app.imports.remembered import recall_fields
from app.imports.storable import storable
from app.imports.targets import Target
from app.tabular.batch import Batch
from app.tabular.detect import open_table
from app.tabular.layout import Layout
from app.tabular.regular import filled

ROWS = 100
SAMPLES = 5
SAMPLE_CHARS = 200
_CHOSEN = "You chose it."
_GIVEN_AWAY = "You gave its field to another column."
_NO_COLUMN = "\0"
_REMEMBERED = "You chose it for an earlier file with this header."


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first records of a file, and how it is laid out."""

    layout: Layout
    batches: Sequence[Batch]

    @property
    def sample(self) -> list[list[str]]:
        """The records that are good enough to guess from."""
        return [record for batch in self.batches for record in good_records(batch)][:SAMPLE_ROWS]


@dataclass(frozen=True, slots=True)
class SampledColumn:
    """A column, what it is taken for and why, and some values of it."""

    guess: Guess
    samples: list[str]


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row and what would become of it. `changes` has [before, after] of each field that would change."""

    row_number: int
    action: Action | Literal["reject"]
    cells: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, list[Any]] = field(default_factory=dict)
    column: str | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """`problem`: why the file can't be imported with this mapping; there are no rows then."""

    layout: Layout
    columns: list[SampledColumn]
    options: ImportOptions
    rows: list[PreviewRow]
    tally: Tally
    problem: Unprocessable | None


def read_beginning(
    source: BinaryIO, filename: str, options: ImportOptions, *, whole: bool
) -> Beginning:
    """`whole`: the source is all of the file, and not cut off somewhere. Raises what `open_table` raises."""
    table = open_table(source, filename=filename, hints=options.hints())
    batches: list[Batch] = []
    found = 0
    for batch in table.batches():
        batches.append(batch)
        found += filled(batch.records)
        if found >= SAMPLE_ROWS:
            break
    else:
        if batches and not whole:
            _drop_last(batches[-1])  # who knows how it goes on
    return Beginning(table.layout, batches)


def preview(
    tx: Connection,
    tenant_id: UUID,
    beginning: Beginning,
    mapping: Mapping[str, str] | None,
    options: ImportOptions,
) -> Preview:
    """Reads only; `tx` may be a read-only transaction. Raises Unprocessable for a mapping that doesn't fit."""
    columns, target = beginning.layout.columns, options.rows
    known = recall_fields(tx, tenant_id, target.name, columns)
    guesses, problem = _guesses(target, beginning, known, mapping or {})
    fields = [guess.field for guess in guesses]
    settled = options.with_values(decide(target, fields, beginning.sample, options.values()))
    shown = _samples(guesses, beginning.sample)
    if problem is not None:
        return Preview(beginning.layout, shown, settled, [], Tally(), problem)
    cleaned = _clean(Cleaner(target, columns, fields, settled.values()), beginning.batches)
    seen = compare(tx, target, tenant_id, cleaned, options.policy)
    rows = [
        *_accepted(cleaned, seen.changes, target.attributes),
        *map(_rejected, [*cleaned.rejects, *seen.rejects]),
    ]
    rows.sort(key=lambda row: row.row_number)
    return Preview(beginning.layout, shown, settled, rows, seen.tally, None)


def _guesses(
    target: Target,
    beginning: Beginning,
    known: Sequence[str] | None,
    mapping: Mapping[str, str],
) -> tuple[list[Guess], Unprocessable | None]:
    """A guess for each column, and what is wrong with them all together."""
    columns = beginning.layout.columns
    base = list(propose(target, columns, beginning.sample).guesses)
    if known is not None:
        base = [
            replace(guess, field=name, confidence=1.0, reason=_REMEMBERED, ignored=False)
            for guess, name in zip(base, known, strict=True)
        ]
    fields, problem = _fields(target, columns, [guess.field for guess in base], mapping)
    told = {folded(column) for column in mapping}
    return [
        replace(guess, field=name, confidence=1.0, reason=_CHOSEN, ignored=False)
        if folded(guess.column) in told
        else guess
        if guess.field == name
        else replace(guess, field=name, confidence=1.0, reason=_GIVEN_AWAY)
        for guess, name in zip(base, fields, strict=True)
    ], problem


def _fields(
    target: Target, columns: Sequence[str], base: Sequence[str], mapping: Mapping[str, str]
) -> tuple[list[str], Unprocessable | None]:
    """As `check_mapping`, but that no column has the key is no reason to show nothing."""
    try:
        return check_mapping(target, columns, base, mapping), None
    except Unprocessable as problem:
        if problem.code == "invalid_mapping":
            raise
        *fields, _ = check_mapping(target, [*columns, _NO_COLUMN], [*base, target.key], mapping)
        return fields, problem


def _samples(guesses: Sequence[Guess], sample: Sequence[Sequence[str]]) -> list[SampledColumn]:
    """Different values that aren't empty, the first few of each column."""
    return [
        SampledColumn(
            guess,
            list(
                islice(
                    dict.fromkeys(
                        storable(record[index])[:SAMPLE_CHARS]
                        for record in sample
                        if index < len(record) and record[index].strip()
                    ),
                    SAMPLES,
                )
            ),
        )
        for index, guess in enumerate(guesses)
    ]


def _clean(cleaner: Cleaner, batches: Sequence[Batch]) -> Cleaned:
    """The first ROWS rows. Of those with the same key the first one wins, as in the import."""
    parts: list[Cleaned] = []
    winners: dict[str, int] = {}
    left = ROWS
    for batch in batches:
        first = _first_rows(batch, left)
        left -= filled(first.records)
        duplicates: dict[int, int] = {}
        for number, key in enumerate(cleaner.keys(first), first.first_row):
            if key and winners.setdefault(key, number) != number:
                duplicates[number] = winners[key]
        parts.append(cleaner.clean(first, duplicates))
        if left <= 0:
            break
    return Cleaned.joined(parts) if parts else cleaner.clean(Batch(1, []), {})


def _first_rows(batch: Batch, count: int) -> Batch:
    """The batch up to its row `count`; blank ones are none."""
    records: list[list[str]] = []
    for record in batch.records:
        if count <= 0:
            break
        records.append(record)
        count -= bool(record)
    problems = {index: it for index, it in batch.problems.items() if index < len(records)}
    return Batch(batch.first_row, records, problems, batch.end)


def _drop_last(batch: Batch) -> None:
    if batch.records:
        batch.records = batch.records[:-1]
        batch.problems.pop(len(batch.records), None)


def _accepted(
    cleaned: Cleaned, changes: Sequence[Change], attributes: str | None
) -> Iterator[PreviewRow]:
    position = {number: index for index, number in enumerate(cleaned.rows)}
    for change in changes:
        index = position[change.row_number]
        values: dict[str, Any] = {
            name: column[index] or None
            for name, column in zip(cleaned.names, cleaned.columns, strict=True)
        }
        if attributes in values:
            values[attributes] = json.loads(values[attributes] or "{}")
        yield PreviewRow(
            change.row_number,
            change.action,
            list(map(storable, cleaned.records[index])),
            values,
            change.fields,
        )


def _rejected(reject: Reject) -> PreviewRow:
    return PreviewRow(
        reject.row_number,
        "reject",
        reject.cells,
        column=reject.column,
        code=reject.code,
        message=reject.message,
    )
