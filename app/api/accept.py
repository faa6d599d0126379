"""From a streaming upload to an accepted import: all of it, or nothing that stays behind."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import anyio
import structlog
from fastapi.responses import JSONResponse
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request

from app.api.idempotency import Answer, check_same, recall, remember, request_hash
from app.api.import_view import accepted_answer
from app.api.intake import Intake
from app.api.session import Place
from app.api.upload_form import Form, read_upload
from app.errors import InvalidRequest, OutcomeUnknown, Unavailable
from app.ids import new_id
from app.imports.acceptance import Looked, accept, look
from app.imports.files import object_key
from app.imports.lifecycle import StoredFile
from app.imports.limits import Limits, check_open, limits_of

log = structlog.get_logger()

FORM_OVERHEAD_BYTES = 1024 * 1024
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
FILENAME_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that is stored and was looked at, and what came with it."""

    import_id: UUID
    file: StoredFile
    looked: Looked
    form: Form


Record = Callable[[Connection, UUID, Received], None]
"""Make an import of a tenant's file, in the caller's transaction. Raises InvalidRequest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """The request, as far as this module needs it. `content_length` is None for a chunked body;
    `waits`: the client sends the body only once we ask for it.
    """

    tenant_id: UUID
    content_type: str
    content_length: int | None
    waits: bool
    body: AsyncGenerator[bytes, None]
    query: Form
    operation: str
    idempotency_key: str | None


def upload_request(
    request: Request, tenant_id: UUID, query: Form, *, operation: str, idempotency_key: str | None
) -> UploadRequest:
    """Of an HTTP request."""
    length = request.headers.get("content-length", "")
    return UploadRequest(
        tenant_id=tenant_id,
        content_type=request.headers.get("content-type", ""),
        content_length=int(length) if length.isdecimal() else None,
        waits=request.headers.get("expect", "").lower() == "100-continue",
        body=request.stream(),
        query=query,
        operation=operation,
        idempotency_key=idempotency_key,
    )


def record_import(tx: Connection, tenant_id: UUID, received: Received) -> None:
    """A new import of the file."""
    accept(
        tx,
        tenant_id,
        received.import_id,
        received.file,
        received.looked,
        mapping=received.form.mapping,
        options=received.form.import_options,
    )


async def accept_upload(
    upload: UploadRequest, place: Place, record: Record = record_import
) -> JSONResponse:
    """Store the file, record the import and its job, answer 202. Raises the errors of `app.errors`."""
    try:
        known, limits = await anyio.to_thread.run_sync(_begin, upload, place)
    except InvalidRequest:
        if not upload.waits:
            await _drain(upload.body)
        raise
    try:
        return await _accept(upload, place, record, known, limits)
    except ClientDisconnect:
        raise InvalidRequest(
            "The connection ended before the file did. Send it again, whole.",
            code="incomplete_body",
        ) from None
    except InvalidRequest:
        # A client that is still sending would see a broken connection instead of our answer.
        await _drain(upload.body)
        raise


def _begin(upload: UploadRequest, place: Place) -> tuple[Answer | None, Limits]:
    """What can be said before the body is read: the answer that was given before, or that it is no use."""
    with place.engine.connect() as tx:
        limits = limits_of(tx, upload.tenant_id, place.settings)
        if upload.content_length is not None:
            limits.check_size(upload.content_length - FORM_OVERHEAD_BYTES)
        key = upload.idempotency_key
        known = key and recall(tx, upload.tenant_id, upload.operation, key)
        if not known:
            check_open(tx, upload.tenant_id, place.settings)
    return known or None, limits


async def _accept(
    upload: UploadRequest, place: Place, record: Record, known: Answer | None, limits: Limits
) -> JSONResponse:
    import_id = new_id()
    intake = Intake(
        limits,
        None if known else place.storage,
        object_key(upload.tenant_id, import_id),
        part_bytes=place.settings.upload_part_bytes,
    )
    try:
        form = await read_upload(upload.content_type, upload.body, upload.query, intake.write)
        form.filename = form.filename[-FILENAME_CHARS:]
        sha256 = await intake.finish()
        request = request_hash(sha256, form.filename, form.mapping or {}, form.options or {})
        if known:
            return respond(check_same(known, request))
        received = await _look(intake, import_id, form, sha256)
        await intake.store()
        answer = await anyio.to_thread.run_sync(_record, upload, place, record, received, request)
    except OutcomeUnknown:
        raise  # the import may be there, and then it needs its file
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _discard(intake)
        raise
    if answer.body["id"] != str(import_id):
        await _discard(intake)  # a request with the same key was first
    return respond(answer)


async def _look(intake: Intake, import_id: UUID, form: Form, sha256: str) -> Received:
    def with_the_file() -> Looked:
        with intake.open() as source:
            return look(source, form.filename, form.import_options, encoding=intake.encoding)

    looked = await anyio.to_thread.run_sync(with_the_file)
    file = StoredFile(
        object_key=intake.key,
        filename=form.filename,
        size=intake.size,
        sha256=sha256,
        layout=looked.layout,
    )
    return Received(import_id=import_id, file=file, looked=looked, form=form)


def respond(answer: Answer) -> JSONResponse:
    """The answer as a response."""
    return JSONResponse(
        answer.body, status_code=answer.status, headers={"Location": answer.location}
    )


async def _discard(intake: Intake) -> None:
    try:
        await intake.discard()
    except Exception:
        log.exception("upload.discard_failed", key=intake.key)


def _record(
    upload: UploadRequest, place: Place, record: Record, received: Received, request: str
) -> Answer:
    """The import, its job, its outbox row and the remembered answer, in one transaction."""
    tenant_id, key = upload.tenant_id, upload.idempotency_key
    with place.engine.connect() as tx:
        check_open(tx, tenant_id, place.settings)
        record(tx, tenant_id, received)
        answer = accepted_answer(tx, received.import_id, request)
        if key is None or remember(tx, tenant_id, upload.operation, key, answer):
            commit(tx)
            return answer
        tx.rollback()
    with place.engine.connect() as tx:
        first = recall(tx, tenant_id, upload.operation, key)
    if first is None:
        raise Unavailable(
            "A request with the same Idempotency-Key failed at the same moment. Send it again.",
            code="idempotency_conflict",
        )
    return check_same(first, request)


def commit(tx: Connection) -> None:
    """Commit what an object in the store belongs to. Raises OutcomeUnknown: then the object must stay."""
    try:
        tx.commit()
    except DBAPIError as error:
        raise OutcomeUnknown(
            "The connection to the database was lost while the import was recorded, which may have "
            "worked. Send the request again with the same Idempotency-Key."
        ) from error


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
