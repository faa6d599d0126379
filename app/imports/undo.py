"""Taking back what a chunk wrote: rows return to what they were, except where someone changed them since.

A row is as the chunk left it when its `updated_at` is the time of the chunk's transaction: a trigger sees
to it that every other change shows there.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from app.imports.apply import UndoSink
from app.imports.statements import column_type
from app.imports.targets import Target

Reason = Literal["changed_since", "deleted_since"]

_FACTS = text("""
    SELECT applied_at IS NOT NULL AS applied, coalesce(before -> 'columns', '[]') AS columns
    FROM import_chunks WHERE import_id = :import_id AND index = :index
""")
# All rows of the chunk are locked before any is changed, in the order in which imports lock theirs.
_LOCK = """
    SELECT count(*) FROM (
        SELECT FROM {table}
        WHERE tenant_id = :tenant_id AND id IN (
            SELECT unnest(inserted_ids) FROM import_chunks
            WHERE import_id = :import_id AND index = :index
            UNION ALL
            SELECT (image ->> 0)::uuid
            FROM import_chunks, jsonb_array_elements(before -> 'rows') AS image
            WHERE import_id = :import_id AND index = :index
        )
        ORDER BY {key} COLLATE "C" FOR UPDATE
    ) AS locked
"""
_REMOVE = """
    WITH chunk AS MATERIALIZED (
        SELECT applied_at, unnest(inserted_ids) AS id FROM import_chunks
        WHERE import_id = :import_id AND index = :index
    ),
    undone AS (
        DELETE FROM {table} AS c USING chunk
        WHERE c.id = chunk.id AND c.tenant_id = :tenant_id AND c.updated_at = chunk.applied_at
        RETURNING c.id
    ),
    others AS (
        SELECT coalesce(c.{key}, chunk.id::text) AS key, c.id IS NOT NULL AS there
        FROM chunk LEFT JOIN {table} AS c ON c.id = chunk.id AND c.tenant_id = :tenant_id
        WHERE chunk.id NOT IN (SELECT id FROM undone)
    )
"""
_RESTORE = """
    WITH chunk AS MATERIALIZED (
        SELECT applied_at, (image ->> {id})::uuid AS id, image ->> {key_at} AS key, image
        FROM import_chunks, jsonb_array_elements(before -> 'rows') AS image
        WHERE import_id = :import_id AND index = :index
    ),
    undone AS (
        UPDATE {table} AS c SET {restored} FROM chunk
        WHERE c.id = chunk.id AND c.tenant_id = :tenant_id AND c.updated_at = chunk.applied_at
        RETURNING c.id
    ),
    others AS (
        SELECT chunk.key, c.id IS NOT NULL AS there
        FROM chunk LEFT JOIN {table} AS c ON c.id = chunk.id AND c.tenant_id = :tenant_id
        WHERE chunk.id NOT IN (SELECT id FROM undone)
    )
"""
_RESULT = """
    SELECT (SELECT count(*) FROM undone) AS undone,
           (SELECT jsonb_agg(jsonb_build_array(key, there) ORDER BY key COLLATE "C") FROM others) AS kept
"""


class Kept(NamedTuple):
    """A row that isn't what it was before the import, because someone came in between.

    `key` is the row's own; of a row that the import had added and that is gone, only its id is known.
    """

    key: str
    reason: Reason


@dataclass(slots=True)
class Undone:
    """`removed` rows had been added, `restored` ones changed; `kept` ones were left alone."""

    removed: int = 0
    restored: int = 0
    kept: list[Kept] = field(default_factory=list)


def undo_chunk(tx: Connection, target: Target, tenant_id: UUID, chunk: UndoSink) -> Undone:
    """Take back what `apply` kept for this chunk. The caller sees to it that it is done once."""
    which = {"import_id": chunk.import_id, "index": chunk.index}
    facts = tx.execute(_FACTS, which).one_or_none()
    if facts is None or not facts.applied:
        return Undone()
    scope = {**which, "tenant_id": tenant_id}
    tx.execute(_lock(target), scope)
    removed = tx.execute(_remove(target), scope).one()
    kept = list(removed.kept or ())
    if not facts.columns:
        return Undone(removed.undone, 0, _kept(kept))
    restored = tx.execute(_restore(target, tuple(facts.columns)), scope).one()
    return Undone(removed.undone, restored.undone, _kept(kept + list(restored.kept or ())))


def _kept(found: list[tuple[str, bool]]) -> list[Kept]:
    return [Kept(key, "changed_since" if there else "deleted_since") for key, there in found]


@lru_cache
def _lock(target: Target) -> TextClause:
    return text(_LOCK.format(table=target.table, key=target.key))


@lru_cache
def _remove(target: Target) -> TextClause:
    return text((_REMOVE + _RESULT).format(table=target.table, key=target.key))


@lru_cache
def _restore(target: Target, columns: tuple[str, ...]) -> TextClause:
    """`columns` are those of the before-images, which may have been kept by an older release: a field
    that isn't there any more is left out.
    """
    known = {"updated_at", *target.by_name, target.attributes} - {target.key}
    restored = ", ".join(
        f"{name} = {_value(target, name, at)}" for at, name in enumerate(columns) if name in known
    )
    return text(
        (_RESTORE + _RESULT).format(
            table=target.table,
            restored=restored,
            id=columns.index("id"),
            key_at=columns.index(target.key),
        )
    )


def _value(target: Target, name: str, at: int) -> str:
    if name == target.attributes:
        return f"chunk.image -> {at}"
    kind = "timestamptz" if name == "updated_at" else column_type(target, name)
    return f"(chunk.image ->> {at})::{kind}"
