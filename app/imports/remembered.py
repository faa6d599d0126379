"""Mappings that a tenant chose before, for the next file with the same header."""

import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from app.imports.mapping import header_fingerprint

_RECALL = text("""
    SELECT fields FROM import_mappings
    WHERE tenant_id = :tenant_id AND target = :target AND header = :header
""")
_REMEMBER = text("""
    INSERT INTO import_mappings (tenant_id, target, header, fields)
    VALUES (:tenant_id, :target, :header, CAST(:fields AS jsonb))
    ON CONFLICT (tenant_id, target, header)
    DO UPDATE SET fields = excluded.fields, updated_at = clock_timestamp()
""")


def recall_fields(
    tx: Connection, tenant_id: UUID, target: str, columns: Sequence[str]
) -> list[str] | None:
    """The field of each column ("" for none), as the tenant last gave them; None if it never did."""
    found: list[str] | None = tx.execute(
        _RECALL,
        {"tenant_id": tenant_id, "target": target, "header": header_fingerprint(columns)},
    ).scalar_one_or_none()
    return found if found is not None and len(found) == len(columns) else None


def remember_fields(
    tx: Connection, tenant_id: UUID, target: str, columns: Sequence[str], fields: Sequence[str]
) -> None:
    """Keep the choice; the last one counts."""
    tx.execute(
        _REMEMBER,
        {
            "tenant_id": tenant_id,
            "target": target,
            "header": header_fingerprint(columns),
            "fields": json.dumps(list(fields)),
        },
    )
