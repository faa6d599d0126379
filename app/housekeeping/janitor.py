"""What nobody will read again in the object store: open multipart uploads, objects of no import and no
file, what imports needed only while they ran, and exports that have expired or came to nothing.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from app.db import database_time
from app.exports import files as exports
from app.files import objects as files
from app.imports.direct import forget_abandoned
from app.imports.files import import_of, useless_keys
from app.settings import Settings
from app.storage import Storage, UploadMarker

log = structlog.get_logger()

BATCH = 500


class Janitor:
    """Goes through the bucket page by page. Nothing younger than `upload_abandoned_seconds` is touched,
    by the store's own times: an upload that is still running is never one of them.
    """

    def __init__(self, settings: Settings, storage: Storage, engine: Engine) -> None:
        self._seconds = settings.upload_abandoned_seconds
        self._storage = storage
        self._engine = engine
        self._after = ""
        self._after_upload: UploadMarker | None = None

    def step(self) -> bool:
        """Abort one batch of abandoned uploads, delete one page's orphans; True when pages are left."""
        before = self._now() - timedelta(seconds=self._seconds)
        more = self._abort_uploads(before)
        with self._engine.begin() as tx:
            forget_abandoned(tx, seconds=self._seconds, limit=BATCH)
        page = self._storage.list_objects("tenants/", after=self._after, limit=BATCH)
        old = [item.key for item in page if item.modified_at < before]
        with self._engine.connect() as tx:
            useless = (
                useless_keys(tx, old) | exports.useless_keys(tx, old) | files.useless_keys(tx, old)
            )
        for key in old:
            if key in useless:
                self._storage.delete(key)
                log.info("upload.orphan_deleted", key=key)
        self._after = page[-1].key if len(page) == BATCH else ""
        return more or len(page) == BATCH

    def _abort_uploads(self, before: datetime) -> bool:
        """One page's; young uploads and others' stay, and must not hide what is behind them."""
        # A page that fails is not asked for again: the next step begins at the first.
        marker, self._after_upload = self._after_upload, None
        page, following = self._storage.open_uploads_page(after=marker, limit=BATCH)
        for upload in page:
            if upload.begun_at < before and _is_ours(upload.key):
                self._storage.abort_multipart(upload.key, upload.id)
                log.info("upload.aborted", key=upload.key)
        self._after_upload = following
        return following is not None

    def _now(self) -> datetime:
        with self._engine.connect() as tx:
            return database_time(tx)


def _is_ours(key: str) -> bool:
    owners = (import_of(key), exports.export_of(key), files.file_of(key))
    return any(owner is not None for owner in owners)
