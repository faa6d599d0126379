"""Rows into `contacts`: COPY into a temporary table, then one INSERT ... ON CONFLICT."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.db import driver_connection
from app.ids import new_id_text
from app.imports.contacts import ContactRow, Reject

_STAGE = text("""
    CREATE TEMPORARY TABLE staged_contacts (
        id uuid, email text, first_name text, last_name text, company text, phone text,
        attributes jsonb
    ) ON COMMIT DROP
""")
_COPY = """
    COPY staged_contacts (id, email, first_name, last_name, company, phone, attributes) FROM STDIN
"""
# An empty cell or an absent column says nothing, so it changes nothing; attributes are merged. The rows
# go in by e-mail address, so that two imports that touch the same contacts lock them in the same order.
_UPSERT = text("""
    WITH written AS (
        INSERT INTO contacts AS c
            (id, tenant_id, email, first_name, last_name, company, phone, attributes)
        SELECT id, :tenant_id, email, first_name, last_name, company, phone, attributes
        FROM staged_contacts ORDER BY email
        ON CONFLICT (tenant_id, email) DO UPDATE
        SET first_name = coalesce(excluded.first_name, c.first_name),
            last_name = coalesce(excluded.last_name, c.last_name),
            company = coalesce(excluded.company, c.company),
            phone = coalesce(excluded.phone, c.phone),
            attributes = c.attributes || excluded.attributes,
            updated_at = now()
        WHERE (coalesce(excluded.first_name, c.first_name), coalesce(excluded.last_name, c.last_name),
               coalesce(excluded.company, c.company), coalesce(excluded.phone, c.phone),
               c.attributes || excluded.attributes)
              IS DISTINCT FROM (c.first_name, c.last_name, c.company, c.phone, c.attributes)
        RETURNING (xmax = 0) AS inserted
    )
    SELECT count(*) FILTER (WHERE inserted) AS inserted,
           count(*) FILTER (WHERE NOT inserted) AS updated
    FROM written
""")
_COPY_REJECTS = """
    COPY rejected_rows (import_id, row_number, tenant_id, "column", code, message, cells) FROM STDIN
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows did what."""

    inserted: int
    updated: int
    unchanged: int


def upsert_contacts(tx: Connection, tenant_id: UUID, rows: Sequence[ContactRow]) -> Tally:
    """Insert or update the tenant's contacts by e-mail address; no address may occur twice in `rows`."""
    if not rows:
        return Tally(0, 0, 0)
    tx.execute(_STAGE)
    with driver_connection(tx).cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row((new_id_text(), *row))
    counts = tx.execute(_UPSERT, {"tenant_id": tenant_id}).one()
    return Tally(counts.inserted, counts.updated, len(rows) - counts.inserted - counts.updated)


def keep_rejects(
    tx: Connection, tenant_id: UUID, import_id: UUID, rejects: Sequence[Reject]
) -> None:
    """Keep the rejected rows as sent, with their reasons."""
    if not rejects:
        return
    with driver_connection(tx).cursor() as cursor, cursor.copy(_COPY_REJECTS) as copy:
        for reject in rejects:
            copy.write_row(
                (
                    import_id,
                    reject.row_number,
                    tenant_id,
                    reject.column,
                    reject.code,
                    reject.message,
                    json.dumps(reject.cells),
                )
            )
