"""Import the rejected rows of an import again: as they were, after a rule has changed, or corrected.

Only rows that were rejected are touched. `_row` says which one a row is. Taken as they were, rows that
could not be read, or whose key another row has, are rejected again; in a corrected file so are those
whose key still is what it was.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict, Unprocessable
from app.imports import lifecycle
from app.imports.cleaning import Cleaner, Reject
from app.imports.files import object_key
from app.imports.lifecycle import StoredFile
from app.imports.mapping import check_mapping
from app.imports.options import ImportOptions, parse_options
from app.imports.rejected import OWN_COLUMNS, Rejected, key_hashes, own_positions, read_facts
from app.imports.rows import Read
from app.imports.targets import TARGETS
from app.tabular.batch import Batch
from app.tabular.layout import Layout
from app.tabular.spreadsheet import unguarded

_PARENT = text("""
    SELECT id, status, filename, dry_run, all_or_nothing, rejected, options, columns, fields, error
    FROM imports WHERE id = :id AND tenant_id = :tenant_id
""")
_FACTS = text("""
    SELECT index AS chunk, rejected_rows FROM import_chunks
    WHERE import_id = :id AND rejected_rows IS NOT NULL
      AND rejected_from <= :last AND rejected_to >= :first
""")
_NUMBER = re.compile(r"\s*([0-9]{1,10})(?:\.0+)?\s*")
_LOADED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The import whose rejected rows are imported again."""

    id: UUID
    filename: str
    options: Mapping[str, Any]
    columns: list[str]
    fields: list[str]


def start_retry(
    tx: Connection,
    tenant_id: UUID,
    parent_id: UUID,
    import_id: UUID,
    *,
    file: StoredFile | None = None,
    mapping: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Record a new import of the rejected rows of `parent_id` and enqueue its plan.

    `file` is the corrected file (its `fields` are found here); without it the rows are taken as they were.
    `mapping` and `options` change those of the first import. Raises NotFound, Conflict when there is
    nothing to repeat, Unprocessable for a file without a `_row` column, and what a mapping may raise.
    """
    parent = _load_parent(tx, tenant_id, parent_id)
    wanted = parse_options({**parent.options, **(options or {})})
    if wanted.target != parent.options.get("target", wanted.target):
        raise Unprocessable("The rows of a retry become what they were to become.", code="target")
    stored = file or _as_they_were(tenant_id, import_id, parent)
    columns = [name for at, name in enumerate(stored.layout.columns) if at not in _own(stored)]
    fields = _fields(wanted, columns, parent, mapping)
    lifecycle.add_import(
        tx,
        tenant_id,
        import_id,
        replace(stored, fields=fields),
        wanted,
        columns=columns,
        retry_of=parent.id,
    )


def _load_parent(tx: Connection, tenant_id: UUID, parent_id: UUID) -> Parent:
    row = tx.execute(_PARENT, {"id": parent_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise lifecycle.missing(parent_id)
    reason = _why_not(row)
    if reason:
        raise Conflict(f"Import {parent_id} {reason}")
    return Parent(
        id=row.id,
        filename=row.filename,
        options=row.options,
        columns=row.columns,
        fields=row.fields,
    )


def _why_not(row: Row[Any]) -> str | None:
    if row.status in {"queued", "running"}:
        return "has not ended yet. Wait until it has."
    if row.dry_run:
        return "was a dry run: nothing was rejected for good. Import the file itself."
    if row.all_or_nothing and row.status != "succeeded":
        return "imported nothing, as it was to take all rows or none. Correct the file and send it whole."
    if not row.rejected:
        return "has rejected no row."
    return None


def _as_they_were(tenant_id: UUID, import_id: UUID, parent: Parent) -> StoredFile:
    """The file that the plan will put together."""
    layout = Layout(header_rows=(1,), first_row=2, columns=(*parent.columns, *OWN_COLUMNS))
    return StoredFile(
        object_key=object_key(tenant_id, import_id),
        filename=parent.filename,
        size=0,
        layout=layout,
        source="retry",
    )


def _own(file: StoredFile) -> set[int]:
    own = own_positions(file.layout.columns)
    if "_row" not in own:
        raise Unprocessable(
            "The file has no _row column, which says which row of the first file each one is. "
            "Correct the file of rejected rows and leave its columns as they are.",
            code="no_row_column",
        )
    return set(own.values())


def _fields(
    options: ImportOptions,
    columns: Sequence[str],
    parent: Parent,
    mapping: Mapping[str, str] | None,
) -> list[str]:
    """The field of each column: the first import's choice for the column of that name, or the caller's."""
    chosen = dict(zip(parent.columns, parent.fields, strict=True))
    left = {field for field in parent.fields if field}
    fields = []
    for column in columns:
        field = chosen.get(column, "")
        fields.append(field if field in left else "")
        left.discard(field)
    return check_mapping(TARGETS[options.target], columns, fields, mapping or {})


class ParentRows:
    """What is known about the rejected rows of an import; `read` opens a transaction for looking."""

    def __init__(self, read: Callable[[], Any], import_id: UUID) -> None:
        self._read = read
        self._import_id = import_id
        self._loaded: dict[int, dict[int, Rejected]] = {}

    def find(self, numbers: Sequence[int]) -> dict[int, Rejected]:
        """Those of the rows that were rejected, by number."""
        wanted = set(numbers)
        found = self._known(wanted)
        if len(found) < len(wanted):
            self._load(min(wanted - found.keys()), max(wanted - found.keys()))
            found = self._known(wanted)
        return found

    def _known(self, wanted: set[int]) -> dict[int, Rejected]:
        return {
            number: rows[number]
            for rows in self._loaded.values()
            for number in wanted & rows.keys()
        }

    def _load(self, first: int, last: int) -> None:
        with self._read() as db:
            rows = db.execute(_FACTS, {"id": self._import_id, "first": first, "last": last}).all()
        if len(self._loaded) > _LOADED_AT_ONCE:
            self._loaded = {}
        for row in rows:
            if row.chunk not in self._loaded:
                self._loaded[row.chunk] = read_facts(row.rejected_rows)


class RetryReader:
    """Makes of rejected rows, as they were or corrected, what they were before: see the module."""

    def __init__(
        self,
        columns: Sequence[str],
        cleaner: Cleaner,
        find: Callable[[Sequence[int]], Mapping[int, Rejected]],
        *,
        as_they_were: bool,
    ) -> None:
        own = own_positions(columns)
        self._row = own["_row"]
        self._error = own.get("_error")
        self._own = sorted(own.values(), reverse=True)
        self._cleaner = cleaner
        self._find = find
        self._as_they_were = as_they_were

    def read(self, batch: Batch) -> Read:
        """The batch in the first file's columns, under its numbers."""
        numbers = [self._number(record) for record in batch.records]
        known = self._find([number for number in numbers if number])
        restored: list[list[str]] = []
        read = Read(
            Batch(batch.first_row, restored, dict(batch.problems), batch.end),
            [number or 0 for number in numbers],
        )
        for position, record in enumerate(batch.records):
            restored.append(
                self._restore(read, position, record, known.get(numbers[position] or 0))
                if record
                else record
            )
        if not self._as_they_were:
            self._same_keys(read, known)
        return read

    def _number(self, record: list[str]) -> int | None:
        match = _NUMBER.fullmatch(record[self._row]) if len(record) > self._row else None
        return int(match[1]) if match else None

    def _restore(
        self, read: Read, position: int, record: list[str], fact: Rejected | None
    ) -> list[str]:
        """The record's own cells; none where it is refused."""
        cells = list(record)
        for place in self._own:
            del cells[place : place + 1]
        cells = [unguarded(cell) for cell in cells]
        if fact is None:
            self._refuse(read, position, cells, _not_before(read, position))
            return []
        if not self._as_they_were:
            return cells
        if fact.cells is None:
            reason = record[self._error] if self._error is not None else ""
            self._refuse(read, position, cells, ("unreadable", unguarded(reason)))
            read.facts.append(fact)
            return []
        if fact.winner:
            read.duplicates[read.batch.first_row + position] = fact.winner
        return [*cells[: fact.cells], *[""] * (fact.cells - len(cells))]

    def _refuse(self, read: Read, position: int, cells: list[str], why: tuple[str, str]) -> None:
        assert read.numbers is not None
        read.batch.problems.pop(position, None)
        read.refused.append(Reject(read.numbers[position], None, *why, cells))

    def _same_keys(self, read: Read, known: Mapping[int, Rejected]) -> None:
        """A corrected row that still has the key of the row before it is still a duplicate."""
        assert read.numbers is not None
        doubled = [
            (position, fact)
            for position, number in enumerate(read.numbers)
            if (fact := known.get(number)) and fact.winner
        ]
        hashes = key_hashes(self._cleaner, [read.batch.records[at] for at, _ in doubled])
        for (position, fact), key in zip(doubled, hashes, strict=True):
            if key and key == fact.key:
                read.duplicates[read.batch.first_row + position] = fact.winner


def _not_before(read: Read, position: int) -> tuple[str, str]:
    assert read.numbers is not None
    number = read.numbers[position]
    if not number:
        return (
            "no_row_number",
            "The _row column has no row number, so nobody knows which row this is.",
        )
    return (
        "not_rejected_before",
        f"Row {number} was not rejected before; only rejected rows are imported again.",
    )
