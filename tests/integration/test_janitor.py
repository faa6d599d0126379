"""What unfinished uploads left in the store goes, once it is old; everything else stays."""

import gzip

import pytest
from sqlalchemy import Engine, text

from app.housekeeping import janitor as janitor_module
from app.housekeeping.janitor import Janitor
from app.ids import new_id
from app.imports.files import chunk_key, import_of, object_key, part_key
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import accepted_import, chunk_rows, csv_bytes, dispatch, run_imports
from tests.support.runtime import Worker

PART = b"x" * (5 * 1024 * 1024)


@pytest.fixture
def janitor(settings: Settings, storage: Storage, engine: Engine) -> Janitor:
    """For whom everything is old: the store's clock can't be turned."""
    at_once = settings.model_copy(update={"upload_abandoned_seconds": -60.0})
    return Janitor(at_once, storage, engine)


@pytest.fixture
def patient(settings: Settings, storage: Storage, engine: Engine) -> Janitor:
    """As in production."""
    return Janitor(settings, storage, engine)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor_module, "BATCH", 2)


def open_keys(storage: Storage) -> list[str]:
    return [upload.key for upload in storage.open_uploads()]


def clean(janitor: Janitor) -> None:
    while janitor.step():
        pass


def test_an_abandoned_upload_is_aborted_and_a_young_one_is_not(
    storage: Storage, tenant: Customer, janitor: Janitor, patient: Janitor
) -> None:
    key = object_key(tenant.id, new_id())
    upload = storage.begin_multipart(key, content_type="text/csv")
    storage.put_part(key, upload, 1, PART)
    clean(patient)
    assert open_keys(storage) == [key]
    clean(janitor)
    assert open_keys(storage) == []
    assert storage.keys() == []


def test_a_file_of_no_import_is_deleted_and_an_imports_file_is_not(
    engine: Engine, storage: Storage, tenant: Customer, janitor: Janitor, patient: Janitor
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, csv_bytes(["Email"]))
    wanted, orphan = object_key(tenant.id, import_id), object_key(tenant.id, new_id())
    storage.put(orphan, b"Email\n", content_type="text/csv")
    clean(patient)
    assert set(storage.keys()) == {wanted, orphan}
    clean(janitor)
    assert storage.keys() == [wanted]


def test_nothing_but_files_of_imports_is_ever_touched(
    storage: Storage, tenant: Customer, janitor: Janitor
) -> None:
    keys = {
        "other/source.csv",
        f"tenants/{tenant.id}/avatar.png",
        f"tenants/{tenant.id}/imports/{new_id()}/rejected.csv",
        f"tenants/{tenant.id}/imports/no-uuid/source.csv",
        f"x/tenants/{tenant.id}/imports/{new_id()}/source.csv",
    }
    for key in keys:
        storage.put(key, b"bytes", content_type="text/plain")
    backup = "backups/database"
    upload = storage.begin_multipart(backup, content_type="text/plain")
    storage.put_part(backup, upload, 1, PART)
    clean(janitor)
    assert set(storage.keys()) == keys
    assert open_keys(storage) == [backup]
    storage.abort_multipart(backup, upload)


@pytest.mark.usefixtures("small_pages")
def test_every_page_is_looked_at_and_then_it_begins_again(
    engine: Engine, storage: Storage, tenant: Customer, janitor: Janitor
) -> None:
    wanted = {
        object_key(tenant.id, accepted_import(engine, storage, tenant.id, csv_bytes(["Email"])))
        for _ in range(3)
    }
    for _ in range(2):
        for _ in range(3):
            storage.put(object_key(tenant.id, new_id()), b"", content_type="text/csv")
        clean(janitor)
        assert set(storage.keys()) == wanted


@pytest.mark.usefixtures("small_pages")
def test_uploads_that_stay_open_do_not_hide_the_abandoned_ones_behind_them(
    storage: Storage, tenant: Customer, janitor: Janitor
) -> None:
    foreign = [f"backups/{number}" for number in range(5)]
    abandoned = [object_key(tenant.id, new_id()) for _ in range(3)]
    for key in (*foreign, *abandoned):
        upload = storage.begin_multipart(key, content_type="text/csv")
        storage.put_part(key, upload, 1, PART)
    clean(janitor)
    assert sorted(open_keys(storage)) == foreign
    for each in storage.open_uploads():
        storage.abort_multipart(each.key, each.id)


def test_which_objects_belong_to_an_import(tenant: Customer) -> None:
    import_id = new_id()
    assert import_of(object_key(tenant.id, import_id)) == import_id
    assert import_of(f"tenants/{tenant.id}/imports/{import_id}/source.csv") == import_id
    assert import_of(chunk_key(tenant.id, import_id, 3)) == import_id
    assert import_of(part_key(tenant.id, import_id, "rejected", 3, "x-1")) == import_id
    own = f"tenants/a/imports/{import_id}"
    for key in ("", "tenants/a/imports", "a/b/c/d/source.csv", "tenants/a/imports/b/source.csv"):
        assert import_of(key) is None
    for key in (own, f"{own}/other", f"{own}/chunks", f"{own}/rejected/a/b", f"{own}/source/x"):
        assert import_of(key) is None


def test_what_an_import_needed_only_while_it_ran_goes_after_its_end(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    janitor: Janitor,
    patient: Janitor,
) -> None:
    data = gzip.compress(csv_bytes(["Email"], ["ada@example.com"], ["nobody"]))
    import_id = accepted_import(engine, storage, tenant.id, data, filename="people.csv.gz")
    ((plan, _),) = dispatch(engine)
    worker.deliver(plan)
    clean(janitor)
    chunk = chunk_key(tenant.id, import_id, 0)
    assert chunk in set(storage.keys())
    run_imports(worker, engine)
    left_over = part_key(tenant.id, import_id, "rejected", 0, "of-a-killed-attempt")
    storage.put(left_over, b"", content_type="text/csv")
    clean(patient)
    assert {chunk, left_over} < set(storage.keys())
    clean(janitor)
    (chunk_row,) = chunk_rows(engine, import_id)
    assert set(storage.keys()) == {object_key(tenant.id, import_id), chunk_row["rejected_key"]}


def test_the_chunks_of_a_failed_import_stay_for_its_replay(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, janitor: Janitor
) -> None:
    data = gzip.compress(csv_bytes(["Email"], ["ada@example.com"]))
    import_id = accepted_import(engine, storage, tenant.id, data, filename="people.csv.gz")
    ((plan, _),) = dispatch(engine)
    worker.deliver(plan)
    with engine.begin() as tx:
        tx.execute(text("UPDATE imports SET status = 'failed'"))
    clean(janitor)
    assert chunk_key(tenant.id, import_id, 0) in set(storage.keys())
