"""Files: hand in a picture or a document, fetch what was made of it."""

from typing import Any
from uuid import UUID

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.ai import documents
from app.api.accept import accept_upload, upload_request
from app.api.file_intake import FILE_BODY, FileQuery, file_kind
from app.api.file_view import LINK_SECONDS, FileView, load_file, view_of
from app.api.idempotency import IdempotencyHeader
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Place, PlaceDep, Tx
from app.errors import Conflict, NotFound
from app.files import store
from app.files.making import TEXT_TYPE
from app.files.objects import prefix
from app.files.store import StoredFile

log = structlog.get_logger()
router = APIRouter(prefix="/v1", tags=["files"])

OPERATION = "POST /v1/files"
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted; it goes on in the background.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to watch the file."}
        },
    }
}
_LINK: dict[int | str, dict[str, Any]] = {
    307: {
        "description": "At an address of the object store that is good for five minutes.",
        "headers": {"Location": {"schema": {"type": "string"}}},
    }
}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "UTF-8.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.post(
    "/files",
    status_code=202,
    response_model=FileView,
    openapi_extra={"requestBody": FILE_BODY},
    responses={**_ACCEPTED, **describe(400, 413, 415, 422)},
)
async def create_file(
    request: Request,
    tenant_id: CurrentTenant,
    place: PlaceDep,
    query: FileQuery,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Hand in a picture, to have it in several sizes, or a document, to have its text."""
    upload = upload_request(
        request, tenant_id, query, operation=OPERATION, idempotency_key=idempotency_key
    )
    return await accept_upload(upload, place, file_kind(upload.content_type, place.settings))


@router.get("/files", responses=describe(400, 422))
def list_files(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[FileView]:
    """The tenant's files, newest first, without links."""
    found = store.page(tx, tenant_id, before=decode_id_cursor(cursor), limit=limit + 1)
    return page_of([view_of(each) for each in found], lambda item: item.id, limit)


@router.get("/files/{file_id}", responses=describe(404, 422))
def get_file(file_id: UUID, tenant_id: CurrentTenant, tx: Tx, place: PlaceDep) -> FileView:
    """One file, with fresh links to all that is there of it."""
    return view_of(load_file(tx, tenant_id, file_id), place)


@router.get(
    "/files/{file_id}/variants/{name}",
    status_code=307,
    response_class=RedirectResponse,
    responses={**_LINK, **describe(404, 409, 422)},
)
def get_variant(
    file_id: UUID, name: str, tenant_id: CurrentTenant, tx: Tx, place: PlaceDep
) -> RedirectResponse:
    """A variant: leads to a link of the object store."""
    file = load_file(tx, tenant_id, file_id)
    variant = next((each for each in file.variants if each.name == name), None)
    if variant is None:
        raise NotFound(f"The file has no variant {name[:40]!r}.")
    if variant.object_key is None or not file.readable:
        raise _not_there(file, variant.state)
    url = place.storage.presign(variant.object_key, seconds=LINK_SECONDS)
    return RedirectResponse(url, status_code=307, headers={"Cache-Control": "no-store"})


@router.get(
    "/files/{file_id}/text",
    response_class=StreamingResponse,
    responses={**_TEXT, **describe(404, 409, 422)},
)
def get_text(file_id: UUID, tenant_id: CurrentTenant, tx: Tx, place: PlaceDep) -> StreamingResponse:
    """A document's text; empty where it has none."""
    file = load_file(tx, tenant_id, file_id)
    if file.text_state is None:
        raise NotFound("No text was asked for when the file was sent.")
    if file.text_state not in {"done", "no_text"} or not file.readable:
        raise _not_there(file, file.text_state)
    blocks = place.storage.stream(file.text_key) if file.text_key else iter(())
    return StreamingResponse(blocks, media_type=TEXT_TYPE)


@router.delete("/files/{file_id}", status_code=204, responses=describe(404, 422))
def delete_file(file_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> None:
    """Delete the file and all that was made of it, also the documents of its text. Jobs that are under way
    find nothing to do.
    """
    with place.engine.begin() as tx:
        if not store.delete(tx, tenant_id, file_id):
            load_file(tx, tenant_id, file_id)
        documents.delete_parts(tx, tenant_id, file_id)
    _delete_objects(place, tenant_id, file_id)


def _delete_objects(place: Place, tenant_id: UUID, file_id: UUID) -> None:
    """Now if that is possible; the janitor gets what is left."""
    try:
        for key in place.storage.keys(prefix(tenant_id, file_id)):
            place.storage.delete(key)
    except (BotoCoreError, ClientError) as away:
        log.warning("file.objects_left", file_id=str(file_id), error=str(away))


def _not_there(file: StoredFile, state: str) -> Conflict:
    if file.error is not None:
        return Conflict(str(file.error["message"]), code=str(file.error["code"]))
    return Conflict(f"It is {state}. Look again in a moment.", code="not_ready")
