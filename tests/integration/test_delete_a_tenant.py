"""`millrace tenants delete` takes all that is known of a tenant, and nothing of the others."""

import os
import signal
import subprocess
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, Table, text

from app.erasing import erase_all, tables
from app.errors import LostLease
from app.exports.files import prefix as of_export
from app.files.objects import prefix as of_file
from app.ids import SYSTEM_TENANT, new_id
from app.imports.files import prefix as of_import
from app.keys import create_key, find_key
from app.ledger import erase, store
from app.ledger.state import Event
from app.models.tables import TABLES
from app.storage import Storage
from tests.support.commands import MILLRACE, Run
from tests.support.customers import Customer
from tests.support.deaths import dead, incident_of
from tests.support.every_table import fill_every_table
from tests.support.jobs import Note, add, add_queued, running
from tests.support.operators import audited
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.executor import Disposition

EVERYBODYS = {"incidents", "dispatch_rules", "processes", "sign_in_failures", "task_errors"}
"""Nobody's own: what of them is a tenant's is tested by itself."""
KEPT = {"audit_log"}
MANY = 60_000

pytestmark = pytest.mark.usefixtures("storage")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_LEASE_SECONDS": "1"}


def name_of(engine: Engine, tenant: Customer) -> str:
    with engine.connect() as tx:
        query = text("SELECT name FROM tenants WHERE id = :id")
        return str(tx.execute(query, {"id": tenant.id}).scalar_one())


def rows(engine: Engine) -> dict[str, int]:
    """How many each table has."""
    with engine.connect() as tx:
        return {
            table.name: tx.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()  # noqa: S608
            for table in TABLES.sorted_tables
        }


def goes_with(table: Table, gone: set[str]) -> bool:
    return any(
        key.ondelete == "CASCADE" and key.column.table.name in gone for key in table.foreign_keys
    )


def delete(run: Run, engine: Engine, tenant: Customer, *words: str) -> dict[str, object]:
    name = name_of(engine, tenant)
    found: dict[str, object] = run("tenants", "delete", name, "--yes", name, "--json", *words).json
    return found


def test_every_table_is_handled_or_everybodys() -> None:
    gone = {table.name for table in tables()} | erase.TABLES | {"tenants"}
    for table in TABLES.sorted_tables:  # what is referred to comes first
        if goes_with(table, gone):
            gone.add(table.name)
    assert {table.name for table in TABLES.sorted_tables} - gone == EVERYBODYS | KEPT
    assert not gone & EVERYBODYS


def test_nothing_of_it_is_left_and_all_of_the_others(
    run: Run, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
) -> None:
    kept = []
    with engine.begin() as tx:
        for each in (tenant, stranger):
            fill_every_table(tx, each.id)
    for each in (tenant, stranger):
        for below in (of_import, of_export, of_file):
            kept.append(f"{below(each.id, new_id())}source")
            storage.put(kept[-1], b"bytes", content_type="text/csv")
    open_key = f"{of_import(tenant.id, new_id())}source"
    storage.begin_multipart(open_key, content_type="text/csv")
    before = rows(engine)
    told = run("tenants", "delete", tenant.id, "--dry-run", "--json").json
    assert rows(engine) == before
    done = delete(run, engine, tenant, "--cancel")
    after = rows(engine)
    assert told["objects"] == done["objects"] == 3
    assert told["rows"] == done["rows"]
    halved = set(before) - EVERYBODYS - KEPT - {"tenants", "api_keys"}
    assert {name: after[name] for name in halved} == dict.fromkeys(halved, 1)
    for name in ("tenants", "api_keys", "console_sessions"):
        assert after[name] < before[name]
    for name in EVERYBODYS:
        assert after[name] == before[name]
    assert set(storage.keys()) == {key for key in kept if str(stranger.id) in key}
    assert storage.open_uploads() == []


def test_it_is_refused_while_jobs_run_and_changes_nothing(
    run: Run, engine: Engine, tenant: Customer
) -> None:
    running(engine, tenant.id, Note())
    add_queued(engine, tenant.id, Note())
    before = rows(engine)
    name = name_of(engine, tenant)
    said = run("tenants", "delete", name, "--yes", name)
    assert said.status == 1
    assert "2 of its jobs" in said.err
    assert "--cancel" in said.err
    assert rows(engine) == before
    with engine.begin() as tx:
        assert find_key(tx, tenant.key) is not None
    assert audited(engine) == []


def test_who_runs_its_job_commits_nothing_more(
    run: Run, engine: Engine, worker: Worker, tenant: Customer
) -> None:
    job = running(engine, tenant.id, Note())
    sent = add_queued(engine, tenant.id, Note())
    add(engine, tenant.id, Note())
    done = delete(run, engine, tenant, "--cancel")
    assert done["rows"]["jobs"] == 3  # type: ignore[index]
    with pytest.raises(LostLease), engine.begin() as tx:
        store.settle(tx, job, Event.SUCCEED)
    assert worker.deliver(sent) is Disposition.ACKNOWLEDGE
    assert rows(engine)["job_history"] == 0


@pytest.mark.parametrize("said", [(), ("--yes", "wrong")])
def test_its_name_has_to_be_written_out(
    run: Run, engine: Engine, tenant: Customer, said: tuple[str, ...]
) -> None:
    refused = run("tenants", "delete", tenant.id, *said)
    assert refused.status == 1
    assert f"--yes '{name_of(engine, tenant)}'" in refused.err
    assert audited(engine) == []


def test_who_cannot_be_deleted(run: Run) -> None:
    assert "system's own" in run("tenants", "delete", SYSTEM_TENANT, "--yes", "system").err
    assert "no tenant" in run("tenants", "delete", uuid4(), "--yes", "x").err


@pytest.fixture
def crowded(engine: Engine, tenant: Customer) -> UUID:
    """A tenant with so many contacts that it takes a while."""
    with engine.begin() as tx:
        query = """
            INSERT INTO contacts (id, tenant_id, email)
            SELECT gen_random_uuid(), :id, 'c' || n || '@example.com' FROM generate_series(1, :many) n
        """
        tx.execute(text(query), {"id": tenant.id, "many": MANY})
    return tenant.id


def test_killed_in_the_middle_it_is_begun_again(
    run: Run, engine: Engine, environment: dict[str, str], tenant: Customer, crowded: UUID
) -> None:
    name = name_of(engine, tenant)
    clean = {name: value for name, value in os.environ.items() if "MILLRACE" not in name}
    with subprocess.Popen(
        [MILLRACE, "tenants", "delete", name, "--yes", name], env={**clean, **environment}
    ) as process:
        wait_for(lambda: rows(engine)["contacts"] < MANY, seconds=30)
        process.send_signal(signal.SIGKILL)
    assert 0 < rows(engine)["contacts"] < MANY
    done = delete(run, engine, tenant)
    assert rows(engine)["contacts"] == 0
    assert 0 < done["rows"]["contacts"] < MANY  # type: ignore[index]
    lines = [action for action, *_ in audited(engine)]
    assert lines == ["tenant.delete", "tenant.delete", "tenant.deleted"]


def test_what_came_late_is_taken_by_its_id(run: Run, engine: Engine, tenant: Customer) -> None:
    delete(run, engine, tenant)
    add(engine, tenant.id, Note())
    late = run("tenants", "delete", tenant.id, "--yes", tenant.id, "--json").json
    assert late["rows"] == {"jobs": 1}
    assert rows(engine)["outbox"] == 0


def test_the_audit_log_keeps_no_name(run: Run, engine: Engine) -> None:
    made = run("tenants", "create", "Canary & Co", "--email", "canary@example.com", "--json").json
    run("keys", "create", "Canary & Co", "--name", "canary's laptop")
    assert run("tenants", "delete", "Canary & Co", "--yes", "Canary & Co").status == 0
    with engine.connect() as tx:
        kept = tx.execute(text("SELECT string_agg(a::text, ' ') FROM audit_log a")).scalar_one()
    assert kept.count(made["id"]) >= 3
    assert "canary" not in kept.lower()


def test_incidents_do_not_quote_it_any_more(
    run: Run, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    both = dead(engine, stranger.id, Note(), "value A", frame="app.place:act")
    dead(engine, tenant.id, Note(), "value B", frame="app.place:act")
    own = incident_of(engine, dead(engine, tenant.id, Note(), "value C", frame="app.other:act"))
    delete(run, engine, tenant)
    assert incident_of(engine, both)["message"] == "value A"
    with engine.connect() as tx:
        query = text("SELECT message FROM incidents WHERE id = :id")
        assert tx.execute(query, {"id": own["id"]}).scalar_one() == erase.NOBODYS


def test_what_begins_while_it_goes_on_is_taken_too(
    engine: Engine, storage: Storage, tenant: Customer
) -> None:
    add(engine, tenant.id, Note())
    late = False
    for _ in erase_all(engine, storage, tenant.id):
        if not late:
            late = True
            add(engine, tenant.id, Note())
            with engine.begin() as tx:
                create_key(tx, tenant.id, name="late")
    assert (rows(engine)["jobs"], rows(engine)["api_keys"]) == (0, 0)
