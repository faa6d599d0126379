"""Imports without HTTP: a stored file and its accepted import, and what came of it."""

import csv
import hashlib
import io
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.ids import new_id
from app.imports.files import object_key
from app.imports.header import read_header
from app.imports.lifecycle import StoredFile, accept_import
from app.ledger.outbox import mark_queued, take_due
from app.storage import Storage


def accepted_import(engine: Engine, storage: Storage, tenant_id: UUID, data: bytes) -> UUID:
    """As `POST /v1/imports` leaves it."""
    import_id = new_id()
    file = StoredFile(
        object_key=object_key(tenant_id, import_id),
        filename="people.csv",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        header=read_header(data),
    )
    storage.put(file.object_key, data, content_type="text/csv")
    with engine.begin() as tx:
        accept_import(tx, tenant_id, import_id, file)
    return import_id


def dispatch(engine: Engine) -> list[tuple[UUID, str]]:
    """Take every due job out of the outbox, as the dispatcher does: ids and kinds."""
    with engine.begin() as tx:
        due = take_due(tx, batch=5000)
        mark_queued(tx, [job.id for job in due])
    return [(job.id, job.kind) for job in due]


def import_row(engine: Engine, import_id: UUID) -> dict[str, Any]:
    with engine.connect() as tx:
        query = text("SELECT * FROM imports WHERE id = :id")
        return dict(tx.execute(query, {"id": import_id}).one()._mapping)


def counts(row: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """total, inserted, updated, unchanged, rejected."""
    names = ("total", "inserted", "updated", "unchanged", "rejected")
    total, inserted, updated, unchanged, rejected = (int(row[name]) for name in names)
    return total, inserted, updated, unchanged, rejected


def contacts(engine: Engine, tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """By e-mail address."""
    query = text("SELECT * FROM contacts WHERE tenant_id = :id ORDER BY email")
    with engine.connect() as tx:
        rows = tx.execute(query, {"id": tenant_id})
        return {row.email: dict(row._mapping) for row in rows}


def rejects(engine: Engine, import_id: UUID) -> dict[int, tuple[str | None, str]]:
    """Row number -> column and code."""
    query = text("""
        SELECT row_number, "column", code FROM rejected_rows WHERE import_id = :id
        ORDER BY row_number
    """)
    with engine.connect() as tx:
        rows = tx.execute(query, {"id": import_id})
        return {row.row_number: (row.column, row.code) for row in rows}


def csv_bytes(*rows: list[str]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
