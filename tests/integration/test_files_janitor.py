"""What attempts at files left in the store goes, once it is old; what a row names stays."""

import pytest
from sqlalchemy import Engine

from app.files.objects import source_key, text_key, variant_key
from app.housekeeping.janitor import Janitor
from app.ids import new_id
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.files import accepted_file, file_row, run_files
from tests.support.pictures import encoded, halves
from tests.support.runtime import Worker


@pytest.fixture
def janitor(settings: Settings, storage: Storage, engine: Engine) -> Janitor:
    """For whom everything is old."""
    at_once = settings.model_copy(update={"upload_abandoned_seconds": -60.0})
    return Janitor(at_once, storage, engine)


def test_what_no_row_names_is_deleted(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, janitor: Janitor
) -> None:
    box = {"name": "v", "width": 9, "height": 9}
    picture = accepted_file(engine, storage, tenant.id, encoded(halves(), "PNG"), box)
    note = accepted_file(engine, storage, tenant.id, b"a note")
    run_files(worker, engine)
    wanted = set(storage.keys())
    assert len(wanted) == 4
    gone = new_id()
    for key in (
        source_key(tenant.id, gone),
        variant_key(tenant.id, picture, "v", "other", "webp"),
        text_key(tenant.id, note, "other"),
        text_key(tenant.id, gone, "other"),
    ):
        storage.put(key, b"left", content_type="text/plain")
    upload = storage.begin_multipart(source_key(tenant.id, gone), content_type="text/plain")
    storage.put_part(source_key(tenant.id, gone), upload, 1, bytes(5 * 1024 * 1024))
    while janitor.step():
        pass
    assert set(storage.keys()) == wanted
    assert storage.open_uploads() == []
    assert file_row(engine, tenant.id, note).text_key in wanted
