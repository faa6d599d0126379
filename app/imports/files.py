"""Which files of the object store belong to an import."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

_KNOWN = text("SELECT id FROM imports WHERE id = ANY(:ids)")


def object_key(tenant_id: UUID, import_id: UUID) -> str:
    """Where an import's file lives."""
    return f"tenants/{tenant_id}/imports/{import_id}/source.csv"


def import_of(key: str) -> UUID | None:
    """The import whose file has this key; None for keys of anything else."""
    match key.split("/"):
        case ["tenants", _, "imports", import_id, "source.csv"]:
            try:
                return UUID(import_id)
            except ValueError:
                return None
    return None


def known_imports(tx: Connection, import_ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that are imports."""
    if not import_ids:
        return set()
    return set(tx.execute(_KNOWN, {"ids": list(import_ids)}).scalars())
