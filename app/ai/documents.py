"""Documents: texts of a tenant's own, kept to be searched and classified."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import NotFound
from app.ids import new_id

MAX_CHARS = 200_000

_ADD = text("""
    INSERT INTO documents (id, tenant_id, title, text, source, source_file_id, source_part)
    VALUES (:id, :tenant_id, :title, :text, :source, :source_file_id, :source_part)
""")
_LOAD = text("SELECT * FROM documents WHERE tenant_id = :tenant_id AND id = :id")
_PAGE = text("""
    SELECT id, title, source, source_file_id, length(text) AS characters, created_at, updated_at
    FROM documents
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
      AND (CAST(:file_id AS uuid) IS NULL OR source_file_id = :file_id)
    ORDER BY id DESC LIMIT :limit
""")
_DELETE = text("DELETE FROM documents WHERE tenant_id = :tenant_id AND id = :id")
_DELETE_PARTS = text("""
    DELETE FROM documents
    WHERE tenant_id = :tenant_id AND source_file_id = :file_id AND source_part IS NOT NULL
    RETURNING id
""")
_FORGET = (
    text("""
        DELETE FROM ai_subjects
        WHERE tenant_id = :tenant_id AND kind = 'documents' AND id = ANY(:ids)
    """),
    text("""
        DELETE FROM ai_labels
        WHERE tenant_id = :tenant_id AND kind = 'documents' AND subject_id = ANY(:ids)
    """),
)


def add(
    tx: Connection,
    tenant_id: UUID,
    *,
    title: str,
    words: str,
    source: str | None = None,
    source_file_id: UUID | None = None,
    source_part: int | None = None,
) -> UUID:
    """A new document of at most MAX_CHARS."""
    document_id = new_id()
    tx.execute(
        _ADD,
        {
            "id": document_id,
            "tenant_id": tenant_id,
            "title": title,
            "text": words,
            "source": source,
            "source_file_id": source_file_id,
            "source_part": source_part,
        },
    )
    return document_id


def load(tx: Connection, tenant_id: UUID, document_id: UUID) -> Row[Any]:
    """The document. Raises NotFound."""
    row = tx.execute(_LOAD, {"tenant_id": tenant_id, "id": document_id}).one_or_none()
    if row is None:
        raise _missing(document_id)
    return row


def page(
    tx: Connection, tenant_id: UUID, *, file_id: UUID | None, before: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Without their text, newest first; those of a file where one is given."""
    values = {"tenant_id": tenant_id, "file_id": file_id, "before": before, "limit": limit}
    return tx.execute(_PAGE, values).all()


def delete(tx: Connection, tenant_id: UUID, document_id: UUID) -> None:
    """Delete it with what was made of it: passages, vectors, labels. Raises NotFound."""
    if tx.execute(_DELETE, {"tenant_id": tenant_id, "id": document_id}).rowcount == 0:
        raise _missing(document_id)
    _forget(tx, tenant_id, [document_id])


def delete_parts(tx: Connection, tenant_id: UUID, file_id: UUID) -> None:
    """Delete what we took from the file, as `delete` does. A document that only names the file stays."""
    values = {"tenant_id": tenant_id, "file_id": file_id}
    _forget(tx, tenant_id, list(tx.execute(_DELETE_PARTS, values).scalars()))


def _forget(tx: Connection, tenant_id: UUID, ids: Sequence[UUID]) -> None:
    for statement in _FORGET:
        tx.execute(statement, {"tenant_id": tenant_id, "ids": ids})


def _missing(document_id: UUID) -> NotFound:
    return NotFound(f"There is no document {document_id}.")
