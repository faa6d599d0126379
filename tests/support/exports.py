"""Exports without HTTP: rows to export, an order, and what came of it."""

import csv
import hashlib
import io
import json
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.exports.lifecycle import place_order
from app.exports.order import Order
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import dispatch
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

KIND = "export.table"


def add_contacts(engine: Engine, tenant_id: UUID, *rows: dict[str, Any]) -> None:
    """Each is a contact's own columns; what is left out is null."""
    with engine.begin() as tx:
        tx.execute(
            text("""
                INSERT INTO contacts (id, tenant_id, email, first_name, last_name, company, phone, attributes)
                SELECT uuidv7(), :tenant_id, email, first_name, last_name, company, phone,
                       coalesce(attributes, '{}')
                FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(email text, first_name text,
                    last_name text, company text, phone text, attributes jsonb)
            """),
            {"tenant_id": tenant_id, "rows": json.dumps(rows)},
        )


def add_many(engine: Engine, tenant_id: UUID, number: int, *, padding: int = 0) -> None:
    """So many contacts, user0@example.com and so on."""
    with engine.begin() as tx:
        tx.execute(
            text("""
                INSERT INTO contacts (id, tenant_id, email, first_name, company, attributes)
                SELECT uuidv7(), :tenant_id, 'user' || n || '@example.com', 'First ' || n,
                       CASE WHEN :padding > 0 THEN repeat(md5(n::text), :padding / 32) END,
                       jsonb_build_object('plan', 'plan-' || n % 3)
                FROM generate_series(0, :number - 1) AS n
            """),
            {"tenant_id": tenant_id, "number": number, "padding": padding},
        )


def order(engine: Engine, tenant_id: UUID, **wanted: Any) -> UUID:
    """As `POST /v1/exports` leaves it."""
    with engine.begin() as tx:
        placed = Order.model_validate({"target": "contacts", "format": "csv", **wanted})
        return place_order(tx, tenant_id, placed, max_open=100)


def published(engine: Engine) -> UUID:
    """The one export job that is due, as the dispatcher publishes it."""
    (job_id,) = [job_id for job_id, kind in dispatch(engine) if kind == KIND]
    return job_id


def run_export(worker: Worker, engine: Engine) -> None:
    assert worker.deliver(published(engine)) is Disposition.ACKNOWLEDGE


def export_row(engine: Engine, export_id: UUID) -> dict[str, Any]:
    with engine.connect() as tx:
        row = tx.execute(text("SELECT * FROM exports WHERE id = :id"), {"id": export_id}).one()
        return dict(row._mapping)


def made(engine: Engine, storage: Storage, export_id: UUID) -> bytes:
    """The file of a finished export, which is what its row says."""
    row = export_row(engine, export_id)
    assert row["status"] == "succeeded", row
    data = b"".join(storage.stream(row["object_key"]))
    assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return data


def export(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, **wanted: Any
) -> bytes:
    export_id = order(engine, tenant.id, **wanted)
    run_export(worker, engine)
    return made(engine, storage, export_id)


def lines(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))
