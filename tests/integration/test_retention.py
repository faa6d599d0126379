"""How long ended things are kept, table by table and tenant by tenant; and that imports go with their files."""

import json
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.api.idempotency import Answer, remember
from app.errors import Unprocessable
from app.housekeeping.janitor import Janitor
from app.ids import SYSTEM_TENANT
from app.imports.files import prefix
from app.imports.pruning import prune_imports
from app.jobs import CleanUp
from app.ledger.prune import prune_jobs
from app.retention import chosen_words, days_kept
from app.settings import Settings
from app.storage import Storage
from app.upkeep.kept import choose
from tests.handlers.test_clean_up import aged, ended
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.imports import accepted_import, csv_bytes, run_imports
from tests.support.jobs import Note, add, add_queued, count, jobs_of
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition


def keep(engine: Engine, tenant_id: UUID, what: str, days: int | None) -> None:
    with engine.begin() as tx:
        choose(tx, tenant_id, what, days)


def clean(worker: Worker, engine: Engine) -> None:
    assert worker.deliver(add_queued(engine, SYSTEM_TENANT, CleanUp())) is Disposition.ACKNOWLEDGE


def done_import(worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> UUID:
    """With a row that is in and one that is rejected."""
    data = csv_bytes(["Email"], ["ada@example.com"], ["nobody"])
    import_id = accepted_import(engine, storage, tenant.id, data)
    run_imports(worker, engine)
    return import_id


def end_import(engine: Engine, import_id: UUID, days: float) -> None:
    set_columns(engine, "imports", import_id, finished_at=days_ago(engine, days))


def imports(engine: Engine) -> set[UUID]:
    with engine.connect() as tx:
        return set(tx.execute(text("SELECT id FROM imports")).scalars())


def test_a_tenant_keeps_its_jobs_for_longer_or_shorter(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    keep(engine, tenant.id, "jobs", 7)
    keep(engine, stranger.id, "jobs", 60)
    ended(engine, tenant.id, 8)
    kept = {ended(engine, tenant.id, 6), ended(engine, stranger.id, 59)}
    ended(engine, stranger.id, 61)
    clean(worker, engine)
    assert jobs_of(engine, Note) == kept


def test_everyone_is_who_chose_nothing(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    keep(engine, SYSTEM_TENANT, "jobs", 3)
    keep(engine, stranger.id, "jobs", 60)
    ended(engine, tenant.id, 4)
    kept = {ended(engine, tenant.id, 2), ended(engine, stranger.id, 40)}
    clean(worker, engine)
    assert jobs_of(engine, Note) == kept
    keep(engine, stranger.id, "jobs", None)
    clean(worker, engine)
    assert len(jobs_of(engine, Note)) == 1


def test_other_tables_follow_the_same_table_even_in_small_batches(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    from app.retention import KEPT

    (kept,) = (one for one in KEPT if one.what == "idempotency_keys")
    keep(engine, tenant.id, "idempotency_keys", 90)
    answer = Answer(request_hash="x", status=202, location="/x", body={})
    with engine.begin() as tx:
        for number in range(5):
            for owner in (tenant, stranger):
                remember(tx, owner.id, "POST /x", str(number), answer)
        tx.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '40 d'"))
    after, removed = None, 0
    for _ in range(10):
        with engine.begin() as tx:
            pruned = kept.step(tx, after, days=30, batch=2)
        after, removed = pruned.after, removed + pruned.removed
        if after is None:
            break
    assert (after, removed) == (None, 5)
    with engine.connect() as tx:
        owners = tx.execute(text("SELECT DISTINCT tenant_id FROM idempotency_keys")).scalars().all()
    assert owners == [tenant.id]


def test_an_old_import_goes_with_its_chunks_and_files_and_its_contacts_stay(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
) -> None:
    keep(engine, tenant.id, "imports", 90)
    old, young, others = (
        done_import(worker, engine, storage, owner) for owner in (tenant, tenant, stranger)
    )
    for import_id, days in ((old, 91), (young, 89), (others, 91)):
        end_import(engine, import_id, days)
    assert len(storage.keys(prefix(tenant.id, old))) == 2
    clean(worker, engine)
    assert imports(engine) == {young, others}
    assert storage.keys(prefix(tenant.id, old)) == []
    assert len(storage.keys(prefix(tenant.id, young))) == 2
    assert (count(engine, "import_chunks"), count(engine, "contacts")) == (2, 2)
    end_import(engine, others, 366)
    clean(worker, engine)
    assert imports(engine) == {young}


def test_what_a_crash_leaves_of_the_files_the_janitor_finds(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, settings: Settings
) -> None:
    old = done_import(worker, engine, storage, tenant)
    end_import(engine, old, 400)
    with engine.begin() as tx:  # and then the worker is killed
        assert prune_imports(tx, None, days=365, batch=100).prefixes == [prefix(tenant.id, old)]
    assert len(storage.keys(prefix(tenant.id, old))) == 2
    at_once = settings.model_copy(update={"upload_abandoned_seconds": -60.0})
    Janitor(at_once, storage, engine).step()
    assert storage.keys(prefix(tenant.id, old)) == []


def test_a_long_import_goes_in_small_batches(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    old = done_import(worker, engine, storage, tenant)
    with engine.begin() as tx:
        tx.execute(
            text("""
            INSERT INTO import_chunks (import_id, index, tenant_id, byte_start, byte_end, first_row, rows)
            SELECT import_id, n, tenant_id, 0, 0, 2, 0
            FROM import_chunks, generate_series(1, 6) AS n
        """)
        )
    end_import(engine, old, 400)
    left: list[int] = []
    after: str | None = None
    for _ in range(10):
        with engine.begin() as tx:
            pruned = prune_imports(tx, after, days=365, batch=3)
        left.append(count(engine, "import_chunks"))
        after = pruned.after
        if after is None:
            break
    assert left[:3] == [4, 1, 0]
    assert imports(engine) == set()


@pytest.mark.parametrize("why", ["running", "undo", "retry", "dead letter", "undone lately"])
def test_an_import_that_is_still_needed_stays(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, why: str
) -> None:
    old = done_import(worker, engine, storage, tenant)
    end_import(engine, old, 400)
    if why == "running":
        set_columns(engine, "imports", old, status="running", finished_at=None)
    if why == "undo":
        set_columns(engine, "imports", old, undo_status="running")
    if why == "undone lately":
        set_columns(engine, "imports", old, undo_status="succeeded",
                    undo_finished_at=days_ago(engine, 1))  # fmt: skip
    if why == "retry":
        retry = accepted_import(engine, storage, tenant.id, csv_bytes(["Email"]))
        set_columns(engine, "imports", retry, source="retry", retry_of=old)
    if why == "dead letter":
        open_letter(engine, tenant.id, old)
    clean(worker, engine)
    assert old in imports(engine)
    assert len(storage.keys(prefix(tenant.id, old))) == 2


def open_letter(engine: Engine, tenant_id: UUID, import_id: UUID) -> None:
    job_id = add(engine, tenant_id, Note())
    with engine.begin() as tx:
        query = text("UPDATE jobs SET state = 'dead', payload = CAST(:it AS jsonb) WHERE id = :id")
        tx.execute(query, {"id": job_id, "it": json.dumps({"import_id": str(import_id)})})
        tx.execute(
            text("""
                WITH incident AS (
                    INSERT INTO incidents (id, fingerprint, code, message, first_seen, last_seen)
                    VALUES (gen_random_uuid(), 'x', 'x', 'x', now(), now()) RETURNING id)
                INSERT INTO dead_letters (id, incident_id, job_id, tenant_id, code, error,
                                          first_failed_at, last_failed_at)
                SELECT gen_random_uuid(), id, :job_id, :tenant_id, 'x', '{}', now(), now() FROM incident
            """),
            {"job_id": job_id, "tenant_id": tenant_id},
        )


def test_undo_is_there_for_as_long_as_the_tenant_keeps_what_it_takes(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, api: httpx.Client
) -> None:
    import_id = done_import(worker, engine, storage, tenant)
    end_import(engine, import_id, 40)
    refused = api.post(f"/v1/imports/{import_id}/undo")
    assert (refused.status_code, "more than 30 days ago" in refused.text) == (409, True)
    keep(engine, tenant.id, "import_undo_data", 45)
    clean(worker, engine)
    assert api.post(f"/v1/imports/{import_id}/undo").status_code == 202


def test_the_commands_words(engine: Engine, settings: Settings, tenant: Customer) -> None:
    assert chosen_words(["jobs=7", "imports=default"], of_tenant=True) == {
        "jobs": 7,
        "imports": None,
    }
    for words, says in (
        ("tallies=3", "There are: jobs, "),
        ("incidents=3", "can't be chosen"),
        ("jobs", "WHAT=DAYS"),
        ("jobs=0", "1 to 36500 days"),
        ("jobs=-1", "1 to 36500 days"),
        ("jobs=99999999999", "1 to 36500 days"),
    ):
        with pytest.raises(Unprocessable, match=says):
            chosen_words([words], of_tenant=True)
    assert chosen_words(["incidents=3"], of_tenant=False) == {"incidents": 3}
    keep(engine, tenant.id, "imports", 9)
    with engine.connect() as tx:
        assert days_kept(tx, settings, tenant.id, "imports") == 9
        assert days_kept(tx, settings, SYSTEM_TENANT, "imports") == 365
        assert days_kept(tx, settings, tenant.id, "jobs") == settings.retention_days


def test_a_retention_that_got_shorter_reaches_jobs_that_are_young(
    engine: Engine, tenant: Customer
) -> None:
    old = aged(engine, ended(engine, tenant.id, 2), 2)
    with engine.begin() as tx:
        assert prune_jobs(tx, None, days=30).removed == 0
    keep(engine, tenant.id, "jobs", 1)
    with engine.begin() as tx:
        assert prune_jobs(tx, None, days=30).removed == 1
    assert old not in jobs_of(engine, Note)
