"""Exports without HTTP: rows to export, an order, and what came of it."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.exports import making, parts, rows
from app.exports.lifecycle import place_order
from app.exports.order import Order
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import dispatch
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

KIND = "export.table"
KINDS = ("export.table", "export.part", "export.finish")


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


def handed_out(worker: Worker, engine: Engine, tenant: Customer, **wanted: Any) -> UUID:
    """An export whose parts are due."""
    export_id = order(engine, tenant.id, **wanted)
    ((job_id, kind),) = dispatch(engine)
    assert (kind, worker.deliver(job_id)) == (KIND, Disposition.ACKNOWLEDGE)
    return export_id


def run_jobs(
    worker: Worker, engine: Engine, *, between: Callable[[UUID, str], None] = lambda *_: None
) -> list[tuple[UUID, str]]:
    """Everything of exports that is due and what comes of it, one job after the other; mails are left alone.
    Returns the jobs in their order.
    """
    ran: list[tuple[UUID, str]] = []
    while due := [job for job in dispatch(engine) if job[1] in KINDS]:
        for job_id, kind in due:
            between(job_id, kind)
            worker.deliver(job_id)
            ran.append((job_id, kind))
    return ran


def tiny_parts(patch: pytest.MonkeyPatch) -> None:
    """Have files of 96 KiB be made in parts of 64 KiB, cut by all keys instead of a sample."""
    patch.setattr(parts, "WHOLE_BYTES", 96 * 1024)
    patch.setattr(parts, "PART_BYTES", 64 * 1024)
    patch.setattr(making, "LEAST_BYTES", 16 * 1024)
    patch.setattr(rows, "_SAMPLE_MASK", 0)


def parts_of(engine: Engine, export_id: UUID) -> list[dict[str, Any]]:
    """What is recorded of them, by number."""
    with engine.connect() as tx:
        query = text("SELECT * FROM export_parts WHERE export_id = :id ORDER BY number")
        return [dict(row._mapping) for row in tx.execute(query, {"id": export_id})]


def export_row(engine: Engine, export_id: UUID) -> dict[str, Any]:
    with engine.connect() as tx:
        row = tx.execute(text("SELECT * FROM exports WHERE id = :id"), {"id": export_id}).one()
        return dict(row._mapping)


def made(engine: Engine, storage: Storage, export_id: UUID) -> bytes:
    """The file of a finished export, which is what its row says."""
    row = export_row(engine, export_id)
    assert row["status"] == "succeeded", row
    data = b"".join(storage.stream(row["object_key"]))
    assert row["bytes"] == len(data)
    if row["parts"] is None:
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
    else:
        assert row["sha256"] is None
        rest = io.BytesIO(data)
        for part in row["parts"]:
            assert hashlib.sha256(rest.read(part["bytes"])).hexdigest() == part["sha256"]
        assert rest.read() == b""
    return data


def export(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, **wanted: Any
) -> bytes:
    export_id = order(engine, tenant.id, **wanted)
    run_export(worker, engine)
    return made(engine, storage, export_id)


def lines(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))
