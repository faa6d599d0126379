"""What every file goes through before it is an import, however it came: looked at, then accepted or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import Connection

from app.imports.lifecycle import StoredFile, accept_import
from app.imports.mapping import SAMPLE_ROWS, check_mapping, decide, propose
from app.imports.options import ImportOptions
from app.imports.remembered import recall_fields
from app.imports.targets import Target
from app.tabular.batch import Batch
from app.tabular.detect import open_table
from app.tabular.layout import Layout


@dataclass(frozen=True, slots=True)
class Looked:
    """How a file is laid out, and its first good records."""

    layout: Layout
    sample: Sequence[list[str]]


@dataclass(frozen=True, slots=True)
class Settled:
    """The field of each column, "" for none, and the options with what the sample decided."""

    fields: list[str]
    options: ImportOptions


def look(
    source: BinaryIO, filename: str, options: ImportOptions, *, encoding: str | None = None
) -> Looked:
    """Find out how to read the file. `encoding` is what is known of it, if the caller of the API says
    nothing. Raises what `open_table` raises.
    """
    hints = options.hints()
    if hints.encoding is None:
        hints = hints.model_copy(update={"encoding": encoding})
    table = open_table(source, filename=filename, hints=hints)
    sample: list[list[str]] = []
    for batch in table.batches():
        sample += good_records(batch)
        if len(sample) >= SAMPLE_ROWS:
            break
    return Looked(table.layout, sample[:SAMPLE_ROWS])


def good_records(batch: Batch) -> list[list[str]]:
    """Those that are neither blank nor damaged."""
    return [
        record
        for index, record in enumerate(batch.records)
        if record and index not in batch.problems
    ]


def check_fields(target: Target, mapping: Mapping[str, str]) -> None:
    """What can be said of a mapping before the file is there. Raises Unprocessable (`invalid_mapping`)."""
    columns = [*mapping, "a column of the file"]
    check_mapping(target, columns, [*("" for _ in mapping), target.key], mapping)


def settle(
    tx: Connection,
    tenant_id: UUID,
    looked: Looked,
    mapping: Mapping[str, str] | None,
    options: ImportOptions,
) -> Settled:
    """Which column feeds which field: as the caller says, else as the tenant said for the last file with
    this header, else as names and data suggest. Raises Unprocessable.
    """
    columns, target = looked.layout.columns, options.rows
    known = recall_fields(tx, tenant_id, target.name, columns)
    base = known or propose(target, columns, looked.sample).fields
    fields = check_mapping(target, columns, base, mapping or {})
    values = decide(target, fields, looked.sample, options.values())
    return Settled(fields, options.with_values(values))


def accept(
    tx: Connection,
    tenant_id: UUID,
    import_id: UUID,
    file: StoredFile,
    looked: Looked,
    *,
    mapping: Mapping[str, str] | None,
    options: ImportOptions,
) -> None:
    """Record the import of a stored file that was looked at. Raises Unprocessable when it can't become
    what it is to become.
    """
    settled = settle(tx, tenant_id, looked, mapping, options)
    stored = replace(file, fields=settled.fields, mapping_given=bool(mapping))
    accept_import(tx, tenant_id, import_id, stored, settled.options)
