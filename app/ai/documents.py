"""Documents: texts of a tenant's own, kept to be searched and classified."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import NotFound
from app.ids import new_id

_ADD = text("""
    INSERT INTO documents (id, tenant_id, title, text, source, source_file_id)
    VALUES (:id, :tenant_id, :title, :text, :source, :source_file_id)
""")
_LOAD = text("SELECT * FROM documents WHERE tenant_id = :tenant_id AND id = :id")
_PAGE = text("""
    SELECT id, title, source, source_file_id, length(text) AS characters, created_at, updated_at
    FROM documents
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")
_DELETE = text("DELETE FROM documents WHERE tenant_id = :tenant_id AND id = :id")
_FORGET = (
    text("DELETE FROM ai_subjects WHERE tenant_id = :tenant_id AND kind = :kind AND id = :id"),
    text(
        "DELETE FROM ai_labels WHERE tenant_id = :tenant_id AND kind = :kind AND subject_id = :id"
    ),
)


def add(
    tx: Connection,
    tenant_id: UUID,
    *,
    title: str,
    words: str,
    source: str | None = None,
    source_file_id: UUID | None = None,
) -> UUID:
    """A new document."""
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
        },
    )
    return document_id


def load(tx: Connection, tenant_id: UUID, document_id: UUID) -> Row[Any]:
    """The document. Raises NotFound."""
    row = tx.execute(_LOAD, {"tenant_id": tenant_id, "id": document_id}).one_or_none()
    if row is None:
        raise _missing(document_id)
    return row


def page(tx: Connection, tenant_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Row[Any]]:
    """Without their text, newest first."""
    return tx.execute(_PAGE, {"tenant_id": tenant_id, "before": before, "limit": limit}).all()


def delete(tx: Connection, tenant_id: UUID, document_id: UUID) -> None:
    """Delete it with what was made of it: passages, vectors, labels. Raises NotFound."""
    values = {"tenant_id": tenant_id, "kind": "documents", "id": document_id}
    if tx.execute(_DELETE, values).rowcount == 0:
        raise _missing(document_id)
    for statement in _FORGET:
        tx.execute(statement, values)


def _missing(document_id: UUID) -> NotFound:
    return NotFound(f"There is no document {document_id}.")
