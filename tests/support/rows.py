"""Rows of a file written to a target without a file: cleaned, applied, compared and undone."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.ids import new_id
from app.imports.apply import Applied, Policy, UndoSink, apply
from app.imports.cleaning import Cleaned, Cleaner, ValueOptions
from app.imports.compare import Comparison, compare
from app.imports.mapping import propose
from app.imports.targets import TARGETS
from app.imports.undo import Undone, undo_chunk
from app.tabular.batch import Batch

_IMPORT = text("""
    INSERT INTO imports (id, tenant_id, job_id, filename, object_key, columns, fields, bytes_total)
    VALUES (:id, :tenant_id, :id, 'rows.csv', 'rows', '[]', '[]', 0)
""")
_CHUNK = text("""
    INSERT INTO import_chunks (import_id, index, tenant_id, byte_start, byte_end, first_row, rows)
    VALUES (:id, 0, :tenant_id, 0, 0, 2, 0)
""")


def cleaned(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    target: str = "contacts",
    options: ValueOptions | None = None,
) -> Cleaned:
    """Rows 2 and following of a file."""
    found = TARGETS[target]
    cleaner = Cleaner(found, columns, propose(found, columns).fields, options)
    return cleaner.clean(Batch(2, [list(row) for row in rows]), {})


def apply_rows(
    engine: Engine,
    tenant_id: UUID,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    target: str = "contacts",
    policy: Policy = Policy.UPSERT,
    undo: UndoSink | None = None,
    perhaps_new: bool = True,
) -> Applied:
    """In a transaction of its own."""
    ready = cleaned(columns, rows, target=target)
    assert ready.rejects == []
    with engine.begin() as tx:
        return apply(
            tx, TARGETS[target], tenant_id, ready, policy, undo=undo, perhaps_new=perhaps_new
        )


def compare_rows(
    engine: Engine,
    tenant_id: UUID,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    target: str = "contacts",
    policy: Policy = Policy.UPSERT,
) -> Comparison:
    """In a transaction that can't write."""
    ready = cleaned(columns, rows, target=target)
    with engine.begin() as tx:
        tx.execute(text("SET TRANSACTION READ ONLY"))
        return compare(tx, TARGETS[target], tenant_id, ready, policy)


def a_chunk(engine: Engine, tenant_id: UUID) -> UndoSink:
    """The chunk of a new import."""
    import_id = new_id()
    with engine.begin() as tx:
        tx.execute(_IMPORT, {"id": import_id, "tenant_id": tenant_id})
        tx.execute(_CHUNK, {"id": import_id, "tenant_id": tenant_id})
    return UndoSink(import_id, 0)


def undo_rows(
    engine: Engine, tenant_id: UUID, chunk: UndoSink, *, target: str = "contacts"
) -> Undone:
    """In a transaction of its own."""
    with engine.begin() as tx:
        return undo_chunk(tx, TARGETS[target], tenant_id, chunk)


def stored(engine: Engine, tenant_id: UUID, *, target: str = "contacts") -> dict[str, Any]:
    """Whole rows by key."""
    found = TARGETS[target]
    query = text(f"SELECT * FROM {found.table} WHERE tenant_id = :id ORDER BY {found.key}")  # noqa: S608
    with engine.connect() as tx:
        rows = tx.execute(query, {"id": tenant_id})
        return {getattr(row, found.key): dict(row._mapping) for row in rows}
