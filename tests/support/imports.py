"""Imports without HTTP: a stored file and its accepted import, and what came of it."""

import csv
import hashlib
import io
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ids import new_id
from app.imports.acceptance import accept, look
from app.imports.downloads import rejected_csv
from app.imports.files import object_key
from app.imports.lifecycle import StoredFile
from app.imports.options import parse_options
from app.imports.retrying import start_retry
from app.imports.undoing import start_undo
from app.ledger.outbox import mark_queued, take_due
from app.storage import Storage
from app.tabular import records
from tests.support.runtime import Worker
from workers import handlers
from workers.runtime.executor import Disposition

REGISTERED = handlers.__all__
"""Importing them has registered them."""
KINDS = ("import.plan", "import.chunk", "import.apply_all", "import.undo_chunk")


def small_batches(patch: pytest.MonkeyPatch, size: int) -> None:
    """Have files read in blocks of so many bytes: chunks end where blocks do."""
    patch.setattr(records, "BLOCK_BYTES", size)


def accepted_import(
    engine: Engine,
    storage: Storage,
    tenant_id: UUID,
    data: bytes,
    *,
    filename: str = "people.csv",
    mapping: dict[str, str] | None = None,
    checksum: str | None = None,
    **options: Any,
) -> UUID:
    """As `POST /v1/imports` leaves it; with a `checksum` as a direct upload does."""
    import_id = new_id()
    wanted = parse_options(options)
    looked = look(BytesIO(data), filename, wanted)
    file = StoredFile(
        object_key=object_key(tenant_id, import_id),
        filename=filename,
        size=len(data),
        layout=looked.layout,
        sha256=None if checksum else hashlib.sha256(data).hexdigest(),
        checksum_wanted=checksum,
        source="direct" if checksum else "upload",
    )
    storage.put(file.object_key, data, content_type="text/csv")
    with engine.begin() as tx:
        accept(tx, tenant_id, import_id, file, looked, mapping=mapping, options=wanted)
    return import_id


def retried_import(
    engine: Engine,
    storage: Storage,
    tenant_id: UUID,
    parent_id: UUID,
    corrected: bytes | None = None,
    **options: Any,
) -> UUID:
    """As `POST /v1/imports/{id}/retry` leaves it."""
    import_id = new_id()
    file = None
    if corrected is not None:
        looked = look(BytesIO(corrected), "corrected.csv", parse_options({}))
        key = object_key(tenant_id, import_id)
        file = StoredFile(
            object_key=key, filename="corrected.csv", size=len(corrected), layout=looked.layout
        )
        storage.put(key, corrected, content_type="text/csv")
    with engine.begin() as tx:
        start_retry(tx, tenant_id, parent_id, import_id, file=file, options=options)
    return import_id


def undo(engine: Engine, tenant_id: UUID, import_id: UUID, *, window: int = 4) -> None:
    """As `POST /v1/imports/{id}/undo` leaves it."""
    with engine.begin() as tx:
        start_undo(tx, tenant_id, import_id, days=30, window=window)


def dispatch(engine: Engine) -> list[tuple[UUID, str]]:
    """Take every due job out of the outbox, as the dispatcher does: ids and kinds."""
    with engine.begin() as tx:
        due = take_due(tx, batch=5000)
        mark_queued(tx, [job.id for job in due])
    return [(job.id, job.kind) for job in due]


def run_imports(
    worker: Worker, engine: Engine, *, between: Callable[[], None] = lambda: None
) -> None:
    """Everything that is due and what comes of it, one job after the other; mails are left alone."""
    while published := [job_id for job_id, kind in dispatch(engine) if kind in KINDS]:
        for job_id in published:
            between()
            assert worker.deliver(job_id) in {Disposition.ACKNOWLEDGE, Disposition.DEAD_LETTER}


def import_row(engine: Engine, import_id: UUID) -> dict[str, Any]:
    with engine.connect() as tx:
        query = text("SELECT * FROM imports WHERE id = :id")
        return dict(tx.execute(query, {"id": import_id}).one()._mapping)


def chunk_rows(engine: Engine, import_id: UUID) -> list[dict[str, Any]]:
    with engine.connect() as tx:
        query = text("SELECT * FROM import_chunks WHERE import_id = :id ORDER BY index")
        return [dict(row._mapping) for row in tx.execute(query, {"id": import_id})]


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


def rejects(
    engine: Engine, storage: Storage, tenant_id: UUID, import_id: UUID
) -> dict[int, tuple[str, str]]:
    """Row number -> column and reason, as rejected.csv has them."""
    return {
        int(row["_row"]): (row["_column"], row["_error"])
        for row in rejected_rows(engine, storage, tenant_id, import_id)
    }


def rejected_rows(
    engine: Engine, storage: Storage, tenant_id: UUID, import_id: UUID
) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rejected_text(engine, storage, tenant_id, import_id))))


def rejected_text(engine: Engine, storage: Storage, tenant_id: UUID, import_id: UUID) -> str:
    return b"".join(rejected_csv(engine, storage, tenant_id, import_id)).decode()


def csv_bytes(*rows: list[str]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
