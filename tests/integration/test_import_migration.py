"""Imports that the release before accepted are finished by this one."""

import hashlib
import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from app.ids import new_id
from app.jobs import ImportChunk, ImportPlan
from app.ledger.contract import JobContract
from app.migrations.run import upgrade
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import contacts, counts, import_row, run_imports
from tests.support.runtime import Worker
from tests.support.servers import Servers

FILE = b"\xef\xbb\xbfemail,name\r\nada@example.com,Ada\r\nbob@example.com,Bob\r\nada@example.com,Last\r\n"
AFTER_BOB = FILE.index(b"ada@example.com,Last")
IMPORT = text("""
    INSERT INTO imports (id, tenant_id, job_id, status, filename, object_key, sha256, bytes_total, columns,
                         fields, chunks_total, chunks_done, total, rows_done, inserted, rejected, started_at)
    VALUES (:id, :tenant_id, :id, :status, 'people.csv', :key, :sha256, :size, '["email", "name"]',
            '["email", "first_name"]', :chunks, :done, :total, :rows, :inserted, :rejected, now())
""")
CHUNK = text("""
    INSERT INTO import_chunks (import_id, index, tenant_id, byte_start, byte_end, first_row, rows, superseded,
                               done_at)
    VALUES (:id, :index, :tenant_id, :start, :end, :first_row, :rows, :superseded, :done)
""")
JOB = text("""
    WITH job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at)
        VALUES (:id, :tenant_id, :kind, 1, 'default', 'scheduled', CAST(:payload AS jsonb), 5, now())
        RETURNING *
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM job
    )
    INSERT INTO job_history (tenant_id, job_id, event, to_state, attempt)
    SELECT tenant_id, id, 'enqueue', 'scheduled', 0 FROM job
""")


@pytest.fixture
def database(servers: Servers) -> str:
    """As the release before left it."""
    name = f"old_{uuid4().hex}"
    servers.databases.create(name, template="template0")
    upgrade(Settings.of(servers.environment(name)), "0004")
    return name


@pytest.fixture
def tenant(engine: Engine) -> Customer:
    """As that release kept it; it needs no key here."""
    made = Customer(id=new_id(), email="old@example.com", key="", key_id=new_id())
    with engine.begin() as tx:
        query = text("INSERT INTO tenants (id, name, email) VALUES (:id, 'old', :email)")
        tx.execute(query, {"id": made.id, "email": made.email})
    return made


@pytest.fixture
def old_key(storage: Storage, tenant: Customer) -> str:
    key = f"tenants/{tenant.id}/imports/{new_id()}/source.csv"
    storage.put(key, FILE, content_type="text/csv")
    return key


def old_import(
    engine: Engine, tenant: Customer, key: str, status: str = "queued", **facts: int | None
) -> UUID:
    import_id = new_id()
    values = {"chunks": None, "done": 0, "total": 0, "rows": 0, "inserted": 0, "rejected": 0}
    with engine.begin() as tx:
        tx.execute(
            IMPORT,
            {
                "id": import_id,
                "tenant_id": tenant.id,
                "status": status,
                "key": key,
                "sha256": hashlib.sha256(FILE).hexdigest(),
                "size": len(FILE),
                **values,
                **facts,
            },
        )
    return import_id


def enqueue_as_then(tx: Connection, tenant: Customer, job: JobContract) -> None:
    facts = {"kind": job.spec.kind, "payload": job.model_dump_json()}
    tx.execute(JOB, {"id": new_id(), "tenant_id": tenant.id, **facts})


def test_one_that_was_queued_is_planned_anew(
    worker: Worker, engine: Engine, settings: Settings, tenant: Customer, old_key: str
) -> None:
    import_id = old_import(engine, tenant, old_key)
    with engine.begin() as tx:
        enqueue_as_then(tx, tenant, ImportPlan(import_id=import_id))
    upgrade(settings)
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], row["error"], counts(row)) == ("succeeded", None, (3, 2, 0, 0, 1))
    assert contacts(engine, tenant.id)["ada@example.com"]["first_name"] == "Ada"
    assert row["layout"]["columns"] == json.loads('["email", "name"]')


def test_one_that_was_planned_keeps_its_plan(
    worker: Worker, engine: Engine, settings: Settings, tenant: Customer, old_key: str
) -> None:
    """The last row was used then: so it is, though this release uses the first one."""
    facts = {"chunks": 2, "done": 1, "total": 3, "rows": 1, "inserted": 1, "rejected": 0}
    import_id = old_import(engine, tenant, old_key, "running", **facts)
    chunks = [
        {"index": 0, "start": FILE.index(b"ada"), "end": AFTER_BOB, "first_row": 2, "rows": 2},
        {"index": 1, "start": AFTER_BOB, "end": len(FILE), "first_row": 4, "rows": 1},
    ]
    more = {"id": import_id, "tenant_id": tenant.id}
    superseded = (2).to_bytes(4, "little") + (4).to_bytes(4, "little")
    with engine.begin() as tx:
        tx.execute(CHUNK, {**chunks[0], **more, "superseded": superseded, "done": None})
        tx.execute(CHUNK, {**chunks[1], **more, "superseded": None, "done": "2026-01-01"})
        enqueue_as_then(tx, tenant, ImportChunk(import_id=import_id, index=0))
    upgrade(settings)
    run_imports(worker, engine)
    row = import_row(engine, import_id)
    assert (row["status"], row["error"], counts(row)) == ("succeeded", None, (3, 2, 0, 0, 1))
    assert list(contacts(engine, tenant.id)) == ["bob@example.com"]
