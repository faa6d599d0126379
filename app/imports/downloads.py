"""What an import leaves to fetch, as CSV in blocks: rejected rows, a dry run's changes, what undo kept.

All of it is safe to open in a spreadsheet, is UTF-8 without a byte-order mark, and takes no memory to speak
of however long it is.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from app.errors import Conflict
from app.imports import lifecycle
from app.imports.preparing import rejected_keys
from app.imports.rejected import header_line
from app.imports.running import CHANGE_COLUMNS
from app.imports.targets import TARGETS
from app.storage import Storage
from app.tabular.spreadsheet import csv_text

_REASONS = {
    "changed_since": "It was changed after the import.",
    "deleted_since": "It was deleted after the import.",
}
_OWN = text("""
    SELECT target, columns, dry_run, undo_status FROM imports WHERE id = :id AND tenant_id = :tenant_id
""")
_CHANGES = text("""
    SELECT changes_key FROM import_chunks
    WHERE import_id = :id AND changes_key IS NOT NULL ORDER BY index
""")
_KEPT = text("""
    SELECT index AS number, kept FROM import_chunks
    WHERE import_id = :id AND kept IS NOT NULL AND index > :after ORDER BY index LIMIT 1
""")


def rejected_csv(
    engine: Engine, storage: Storage, tenant_id: UUID, import_id: UUID
) -> Iterator[bytes]:
    """The rejected rows so far, in the file's own columns, plus `_row`, `_column` and `_error`.

    Raises NotFound at once; what the store may raise comes while iterating.
    """
    with engine.connect() as tx:
        row = _own(tx, tenant_id, import_id)
        keys = rejected_keys(tx, import_id)
    return _joined(storage, header_line(row.columns), keys)


def changes_csv(
    engine: Engine, storage: Storage, tenant_id: UUID, import_id: UUID
) -> Iterator[bytes]:
    """What a dry run would change: a line for each new row, and for each field of a changed one.

    Raises NotFound, and Conflict for an import that is no dry run.
    """
    with engine.connect() as tx:
        row = _own(tx, tenant_id, import_id)
        if not row.dry_run:
            raise Conflict(
                f"Import {import_id} was no dry run; only a dry run says what would change."
            )
        keys = list(tx.execute(_CHANGES, {"id": import_id}).scalars())
    return _joined(storage, csv_text([CHANGE_COLUMNS]).encode(), keys)


def undo_csv(engine: Engine, tenant_id: UUID, import_id: UUID) -> Iterator[bytes]:
    """The rows that undo left as they are, so far, and why.

    Raises NotFound, and Conflict for an import that nobody has undone.
    """
    with engine.connect() as tx:
        row = _own(tx, tenant_id, import_id)
    if row.undo_status is None:
        raise Conflict(f"Import {import_id} has not been undone.")
    return _kept(engine, import_id, TARGETS[row.target].key)


def _own(tx: Connection, tenant_id: UUID, import_id: UUID) -> Row[Any]:
    row = tx.execute(_OWN, {"id": import_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise lifecycle.missing(import_id)
    return row


def _joined(storage: Storage, header: bytes, keys: Sequence[str]) -> Iterator[bytes]:
    yield header
    for key in keys:
        yield from storage.stream(key)


def _kept(engine: Engine, import_id: UUID, key_name: str) -> Iterator[bytes]:
    """A chunk's rows at a time, each by a short look."""
    yield csv_text([[key_name, "reason", "explanation"]]).encode()
    after = -1
    while True:
        with engine.connect() as tx:
            chunk = tx.execute(_KEPT, {"id": import_id, "after": after}).one_or_none()
        if chunk is None:
            return
        after = chunk.number
        lines = [
            [kept["key"], kept["reason"], _REASONS.get(kept["reason"], "")] for kept in chunk.kept
        ]
        yield csv_text(lines).encode()
