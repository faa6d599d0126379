"""Files without HTTP: stored and accepted, and what came of them."""

import hashlib
import io
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from app.files import store
from app.files.acceptance import Arrived, accept_file
from app.files.objects import source_key
from app.files.options import VariantSpec, settle_text, settle_variants
from app.files.store import StoredFile
from app.files.types import detect
from app.ids import new_id
from app.storage import Storage
from tests.support.imports import dispatch
from tests.support.runtime import Worker


def accepted_file(
    engine: Engine,
    storage: Storage,
    tenant_id: UUID,
    data: bytes,
    *variants: dict[str, Any],
    scan: bool = False,
    searchable: bool = False,
) -> UUID:
    """As `POST /v1/files` leaves it."""
    file_id = new_id()
    found = detect(io.BytesIO(data))
    key = source_key(tenant_id, file_id)
    storage.put(key, data, content_type="application/octet-stream")
    asked = [VariantSpec.model_validate(each) for each in variants] or None
    arrived = Arrived(
        id=file_id,
        filename="file",
        object_key=key,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        type=found.name,
        variants=settle_variants(found, asked),
        extract_text=settle_text(found, None),
        searchable=searchable,
        scan=scan,
    )
    with engine.begin() as tx:
        accept_file(tx, tenant_id, arrived)
    return file_id


def run_files(worker: Worker, engine: Engine) -> list[str]:
    """Everything that is due and what comes of it; the kinds, in their order."""
    kinds: list[str] = []
    while due := dispatch(engine):
        for job_id, kind in due:
            kinds.append(kind)
            worker.deliver(job_id)
    return kinds


def file_row(engine: Engine, tenant_id: UUID, file_id: UUID) -> StoredFile:
    with engine.connect() as tx:
        found = store.find(tx, tenant_id, file_id)
    assert found is not None
    return found


def content(storage: Storage, key: str | None) -> bytes:
    assert key is not None
    return b"".join(storage.stream(key))
