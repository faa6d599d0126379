"""From a streaming upload to an accepted import: all of it, or nothing that stays behind."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import anyio
import structlog
from fastapi.responses import JSONResponse
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect

from app.api.idempotency import Answer, check_same, recall, remember, request_hash
from app.api.import_view import view_of
from app.api.intake import Intake
from app.api.upload_form import Form, read_upload
from app.errors import InvalidRequest, OutcomeUnknown, TooLarge, Unavailable
from app.ids import new_id
from app.imports.files import object_key
from app.imports.lifecycle import StoredFile, accept_import
from app.models import Import
from app.settings import Settings
from app.storage import Storage

log = structlog.get_logger()

OPERATION = "POST /v1/imports"
FORM_OVERHEAD_BYTES = 1024 * 1024
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """The request, as far as this module needs it. `content_length` is None for a chunked body."""

    tenant_id: UUID
    content_type: str
    content_length: int | None
    body: AsyncGenerator[bytes, None]
    query: Form
    idempotency_key: str | None


async def accept_upload(
    upload: UploadRequest, *, engine: Engine, storage: Storage, settings: Settings
) -> JSONResponse:
    """Store the file, record the import and its job, answer 202. Raises the errors of `app.errors`."""
    try:
        return await _accept(upload, engine, storage, settings)
    except ClientDisconnect:
        raise InvalidRequest(
            "The connection ended before the file did. Send it again, whole.",
            code="incomplete_body",
        ) from None
    except InvalidRequest:
        # A client that is still sending would see a broken connection instead of our answer.
        await _drain(upload.body)
        raise


async def _accept(
    upload: UploadRequest, engine: Engine, storage: Storage, settings: Settings
) -> JSONResponse:
    limit = settings.upload_max_bytes
    if upload.content_length is not None and upload.content_length > limit + FORM_OVERHEAD_BYTES:
        raise TooLarge(f"The file is over the limit of {limit} bytes. Split it and send the parts.")
    known = await anyio.to_thread.run_sync(_recall, engine, upload)
    import_id = new_id()
    intake = Intake(settings, None if known else storage, object_key(upload.tenant_id, import_id))
    try:
        form = await read_upload(upload.content_type, upload.body, upload.query, intake.write)
        file = await intake.finish(form.filename[-255:], form.mapping)
        request = request_hash(file.sha256, file.filename, form.mapping, form.options)
        answer = (
            check_same(known, request)
            if known
            else await anyio.to_thread.run_sync(_record, engine, upload, import_id, file, request)
        )
    except OutcomeUnknown:
        raise  # the import may be there, and then it needs its file
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _discard(intake)
        raise
    if answer.body["id"] != str(import_id):
        await _discard(intake)  # a request with the same key was first
    return JSONResponse(
        answer.body, status_code=answer.status, headers={"Location": answer.location}
    )


async def _discard(intake: Intake) -> None:
    try:
        await intake.discard()
    except Exception:
        log.exception("upload.discard_failed", key=intake.key)


def _recall(engine: Engine, upload: UploadRequest) -> Answer | None:
    if upload.idempotency_key is None:
        return None
    with engine.connect() as tx:
        return recall(tx, upload.tenant_id, OPERATION, upload.idempotency_key)


def _record(
    engine: Engine, upload: UploadRequest, import_id: UUID, file: StoredFile, request: str
) -> Answer:
    """The import, its job, its outbox row and the remembered answer, in one transaction."""
    with engine.connect() as tx:
        accept_import(tx, upload.tenant_id, import_id, file)
        answer = _answer(tx, import_id, request)
        key = upload.idempotency_key
        if key is None or remember(tx, upload.tenant_id, OPERATION, key, answer):
            _commit(tx)
            return answer
        tx.rollback()
    with engine.connect() as tx:
        first = recall(tx, upload.tenant_id, OPERATION, key)
    if first is None:
        raise Unavailable(
            "A request with the same Idempotency-Key failed at the same moment. Send it again.",
            code="idempotency_conflict",
        )
    return check_same(first, request)


def _commit(tx: Connection) -> None:
    try:
        tx.commit()
    except DBAPIError as error:
        raise OutcomeUnknown(
            "The connection to the database was lost while the import was recorded, which may have "
            "worked. Send the request again with the same Idempotency-Key."
        ) from error


def _answer(tx: Connection, import_id: UUID, request: str) -> Answer:
    row = tx.execute(select(Import.__table__).where(Import.id == import_id)).one()
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/imports/{import_id}",
        body=view_of(row).model_dump(mode="json"),
    )


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read on, without keeping anything, for as long as is reasonable."""
    left = DRAIN_BYTES
    deadline = time.monotonic() + DRAIN_SECONDS
    try:
        async for block in body:
            left -= len(block)
            if left <= 0 or time.monotonic() > deadline:
                return
    except (ClientDisconnect, RuntimeError):
        return
