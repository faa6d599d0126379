"""Direct uploads: announce a file, put its parts into the store by presigned URLs, have it imported."""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app.api.accept import respond
from app.api.bodies import Body, BoundedRoute, Name
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.import_bodies import ACCEPTED
from app.api.import_view import ImportProblem, ImportView
from app.api.problems import describe
from app.api.session import CurrentTenant, Place, PlaceDep
from app.api.upload_end import complete_upload, give_up_upload, load_upload, lost
from app.errors import Unprocessable
from app.ids import new_id
from app.imports.acceptance import check_fields
from app.imports.direct import (
    Announced,
    DirectUpload,
    Received,
    compare_parts,
    open_upload,
    part_bytes_for,
)
from app.imports.files import object_key
from app.imports.limits import check_open, limits_of
from app.imports.options import parse_options
from app.storage import Part

router = APIRouter(prefix="/v1", tags=["uploads"], route_class=BoundedRoute)

OPERATION = "POST /v1/uploads"
URL_SECONDS = 3600
CONTENT_TYPE = "application/octet-stream"

_LOCATION: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "Created; the parts are to be sent.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to resume the upload."}
        },
    }
}
Sha256 = Annotated[
    str,
    Field(
        pattern="^[0-9a-fA-F]{64}$",
        description="Of the whole file, in hex: checked before the import.",
    ),
]


class UploadAnnouncement(Body):
    """A file that is to come. `mapping` and `options` are those of the import."""

    filename: Name
    size: Annotated[int, Field(ge=0, description="In bytes, exactly.")]
    sha256: Sha256 | None = None
    mapping: dict[str, str] | None = None
    options: Annotated[
        dict[str, Any] | None, Field(description="As ImportOptions of POST /v1/imports.")
    ] = None


class PartToSend(BaseModel):
    """PUT bytes `(number - 1) * part_bytes` and on, `size` of them, to the URL; without other headers."""

    number: int
    size: int
    url: str


class PartReceived(BaseModel):
    """In the store."""

    number: int
    size: int
    etag: str


class UploadView(BaseModel):
    """A direct upload. `parts` are those that are missing; their URLs hold until `urls_expire_at`, and a
    new GET gives new ones. What isn't completed by `expires_at` is given up.
    """

    id: UUID
    status: Literal["open", "completed", "refused"]
    filename: str
    size: int
    part_bytes: int
    parts: list[PartToSend]
    received: list[PartReceived]
    created_at: datetime
    expires_at: datetime
    urls_expire_at: datetime | None
    import_id: UUID | None = Field(description="Once it is completed.")
    error: ImportProblem | None = Field(description="Why the file was refused.")


class SentPart(Body):
    """A part as the sender knows it; `etag` is a header of the store's answer."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    etag: Annotated[str, Field(max_length=255)]


class UploadCompletion(Body):
    """What was sent, if the sender wants that to be checked."""

    parts: Annotated[list[SentPart], Field(max_length=1000)] | None = None


@router.post(
    "/uploads",
    status_code=201,
    response_model=UploadView,
    responses={**_LOCATION, **describe(400, 413, 422, 429)},
)
def create_upload(
    announced: UploadAnnouncement,
    tenant_id: CurrentTenant,
    place: PlaceDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Announce a file; the answer has a URL for each of its parts."""
    if announced.size == 0:
        raise Unprocessable("The file is empty. Send a file with a header row.", code="empty_file")
    options = parse_options(announced.options or {})
    check_fields(options.rows, announced.mapping or {})
    request = request_hash(announced.model_dump(mode="json"))
    with place.engine.begin() as tx:
        answer = answer_once(
            tx,
            tenant_id,
            OPERATION,
            idempotency_key,
            request,
            lambda: _open(tx, place, tenant_id, announced, request),
        )
    upload = load_upload(place, tenant_id, UUID(answer.body["id"]))
    return respond(replace(answer, body=_shown(place, upload).model_dump(mode="json")))


@router.get("/uploads/{upload_id}", responses=describe(404, 409, 422))
def get_upload(upload_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> UploadView:
    """What has arrived, and fresh URLs for the rest: all that it takes to resume."""
    return _shown(place, load_upload(place, tenant_id, upload_id))


@router.post(
    "/uploads/{upload_id}/complete",
    status_code=202,
    response_model=ImportView,
    responses={**ACCEPTED, **describe(400, 404, 409, 413, 415, 422, 429)},
)
def complete(
    upload_id: UUID,
    tenant_id: CurrentTenant,
    place: PlaceDep,
    completion: UploadCompletion | None = None,
) -> Response:
    """All parts are sent: have the file imported. Safe to repeat: the same import is the answer.

    A file that can't be imported is deleted, and the upload is refused; parts that are missing, or not as
    they should be, may be sent again.
    """
    told = [Part(part.number, part.etag) for part in (completion and completion.parts) or ()]
    return respond(complete_upload(place, load_upload(place, tenant_id, upload_id), told))


@router.delete("/uploads/{upload_id}", status_code=204, responses=describe(404, 409, 422))
def delete_upload(upload_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> None:
    """Give the upload up: what was sent of it is deleted."""
    give_up_upload(place, load_upload(place, tenant_id, upload_id))


def _open(
    tx: Connection, place: Place, tenant_id: UUID, announced: UploadAnnouncement, request: str
) -> Answer:
    check_open(tx, tenant_id, place.settings)
    limits_of(tx, tenant_id, place.settings).check_size(announced.size)
    upload_id = new_id()
    key = object_key(tenant_id, upload_id)
    multipart_id = place.storage.begin_multipart(key, content_type=CONTENT_TYPE)
    try:
        open_upload(
            tx,
            Announced(
                id=upload_id,
                tenant_id=tenant_id,
                filename=announced.filename,
                object_key=key,
                multipart_id=multipart_id,
                size=announced.size,
                part_bytes=part_bytes_for(announced.size, place.settings.upload_part_bytes),
                sha256=announced.sha256,
                mapping=announced.mapping or {},
                options=announced.options or {},
            ),
        )
    except BaseException:
        place.storage.abort_multipart(key, multipart_id)
        raise
    return Answer(
        request_hash=request,
        status=201,
        location=f"/v1/uploads/{upload_id}",
        body={"id": str(upload_id)},
    )


def _shown(place: Place, upload: DirectUpload) -> UploadView:
    received = _received(place, upload) if upload.status == "open" else None
    to_send = [*received.missing, *received.wrong] if received else []
    return UploadView(
        id=upload.id,
        status=upload.status,
        filename=upload.filename,
        size=upload.size,
        part_bytes=upload.part_bytes,
        parts=[_to_send(place, upload, number) for number in sorted(to_send)],
        received=[PartReceived(**asdict(part)) for part in received.parts] if received else [],
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        urls_expire_at=upload.now + timedelta(seconds=URL_SECONDS) if to_send else None,
        import_id=upload.id if upload.status == "completed" else None,
        error=upload.error and ImportProblem.model_validate(upload.error),
    )


def _received(place: Place, upload: DirectUpload) -> Received | None:
    """None when the store has made the parts one object already."""
    stored = place.storage.list_parts(upload.object_key, upload.multipart_id)
    if stored is not None:
        return compare_parts(upload, stored)
    if place.storage.head(upload.object_key) is None:
        raise lost(upload)
    return None


def _to_send(place: Place, upload: DirectUpload, number: int) -> PartToSend:
    return PartToSend(
        number=number,
        size=upload.size_of(number),
        url=place.storage.presign_part(
            upload.object_key, upload.multipart_id, number, seconds=URL_SECONDS
        ),
    )
