"""From a streaming upload to something accepted: all of it, or nothing that stays behind."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

import anyio
import structlog
from fastapi.responses import JSONResponse
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request

from app.api.idempotency import Answer, check_same, recall, remember, request_hash
from app.api.intake import Intake
from app.api.session import Place
from app.api.upload_form import FormT, read_upload
from app.errors import InvalidRequest, OutcomeUnknown, Overloaded, Unavailable
from app.ids import new_id
from app.settings import Settings

log = structlog.get_logger()

FORM_OVERHEAD_BYTES = 1024 * 1024
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""So long a client may send nothing of a file that it has begun."""
FILENAME_CHARS = 255


ReceivedT = TypeVar("ReceivedT")
CheckSize = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Generic[FormT]):
    """A file on its way into the store, all of which has come, and what came with it."""

    id: UUID
    intake: Intake
    form: FormT
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[FormT, ReceivedT]):
    """What becomes of the upload. Each step may raise InvalidRequest.

    `admit`: may this tenant send something now (True: it is only repeating itself), and how large?
    `refuse_early` sees the first bytes.
    `look` opens the file, in a thread, before it is recorded. `facts`: what makes two requests the same, beside
    the file. `record` makes the thing, in the caller's transaction, and says what to answer.
    """

    raw_types: Collection[str]
    key: Callable[[UUID, UUID], str]
    admit: Callable[[Connection, UUID, Settings, bool], CheckSize]
    refuse_early: Callable[[bytes], None]
    look: Callable[[Stored[FormT]], ReceivedT]
    facts: Callable[[FormT], tuple[object, ...]]
    record: Callable[[Connection, UUID, ReceivedT, str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest(Generic[FormT]):
    """The request, as far as this module needs it. `content_length` is None for a chunked body;
    `waits`: the client sends the body only once we ask for it.
    """

    tenant_id: UUID
    content_type: str
    content_length: int | None
    waits: bool
    body: AsyncGenerator[bytes, None]
    query: FormT
    operation: str
    idempotency_key: str | None


def upload_request(
    request: Request, tenant_id: UUID, query: FormT, *, operation: str, idempotency_key: str | None
) -> UploadRequest[FormT]:
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


async def accept_upload(
    upload: UploadRequest[FormT], place: Place, kind: Kind[FormT, ReceivedT]
) -> JSONResponse:
    """Store the file, record what it is for and its job, answer 202. Raises the errors of `app.errors`."""
    asked = False
    try:
        known, check_size = await anyio.to_thread.run_sync(_begin, upload, place, kind)
        with place.room.place(upload.tenant_id):
            asked = True
            return await _accept(upload, place, kind, known, check_size)
    except ClientDisconnect:
        raise InvalidRequest(
            "The connection ended before the file did. Send it again, whole.",
            code="incomplete_body",
        ) from None
    except (InvalidRequest, Overloaded):
        # A client that is still sending would see a broken connection instead of our answer.
        if asked or not upload.waits:
            await _drain(upload.body)
        raise


def _begin(
    upload: UploadRequest[FormT], place: Place, kind: Kind[FormT, ReceivedT]
) -> tuple[Answer | None, CheckSize]:
    """What can be said before the body is read: the answer that was given before, or that it is no use."""
    key = upload.idempotency_key
    with place.engine.connect() as tx:
        known = key and recall(tx, upload.tenant_id, upload.operation, key)
        check_size = kind.admit(tx, upload.tenant_id, place.settings, bool(known))
    if upload.content_length is not None:
        check_size(upload.content_length - FORM_OVERHEAD_BYTES)
    return known or None, check_size


async def _accept(
    upload: UploadRequest[FormT],
    place: Place,
    kind: Kind[FormT, ReceivedT],
    known: Answer | None,
    check_size: CheckSize,
) -> JSONResponse:
    new = new_id()
    intake = Intake(
        None if known else place.storage,
        kind.key(upload.tenant_id, new),
        room=place.room.parts,
        part_bytes=place.settings.upload_part_bytes,
        check_size=check_size,
        refuse_early=kind.refuse_early,
    )
    try:
        form = await read_upload(
            upload.content_type,
            _going_on(upload.body),
            upload.query,
            intake.write,
            raw_types=kind.raw_types,
        )
        form.filename = form.filename[-FILENAME_CHARS:]
        sha256 = await intake.finish()
        request = request_hash(sha256, form.filename, *kind.facts(form))
        if known:
            return respond(check_same(known, request))
        stored = Stored(id=new, intake=intake, form=form, sha256=sha256)
        received = await anyio.to_thread.run_sync(kind.look, stored)
        await intake.store()
        answer = await anyio.to_thread.run_sync(_record, upload, place, kind, received, request)
    except OutcomeUnknown:
        raise  # the thing may be there, and then it needs its file
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _discard(intake)
        raise
    if answer.body["id"] != str(new):
        await _discard(intake)  # a request with the same key was first
    return respond(answer)


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
    upload: UploadRequest[FormT],
    place: Place,
    kind: Kind[FormT, ReceivedT],
    received: ReceivedT,
    request: str,
) -> Answer:
    """What it is for, its job, its outbox row and the remembered answer, in one transaction."""
    tenant_id, key = upload.tenant_id, upload.idempotency_key
    with place.engine.connect() as tx:
        kind.admit(tx, tenant_id, place.settings, False)
        answer = kind.record(tx, tenant_id, received, request)
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
            "The connection to the database was lost while the upload was recorded, which may have "
            "worked. Send the request again with the same Idempotency-Key."
        ) from error


async def _going_on(body: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The body, as long as it comes: who is gone without a word would hold a place for hours. Raises InvalidRequest
    (`upload_stalled`).
    """
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                block = await anext(body, None)
        except TimeoutError:
            raise InvalidRequest(
                f"Nothing of the file has come for {SILENCE_SECONDS:g} seconds. Send it again, whole.",
                code="upload_stalled",
            ) from None
        if block is None:
            return
        yield block


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read on, without keeping anything, for as long as is reasonable."""
    left = DRAIN_BYTES
    with suppress(ClientDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for block in body:
                left -= len(block)
                if left <= 0:
                    return
