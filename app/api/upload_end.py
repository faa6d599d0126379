"""How a direct upload ends: completed and imported, refused, or given up."""

from collections.abc import Sequence
from uuid import UUID

import structlog
from botocore.exceptions import ClientError

from app.api.accept import commit
from app.api.idempotency import Answer
from app.api.import_view import accepted_answer
from app.api.session import Place
from app.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unprocessable,
    UnsupportedMediaType,
)
from app.imports import direct
from app.imports.acceptance import Looked, accept, look
from app.imports.direct import DirectUpload, compare_parts, find_upload
from app.imports.lifecycle import StoredFile
from app.imports.limits import check_open
from app.imports.options import parse_options
from app.storage import Part

log = structlog.get_logger()

_LISTED = 20
_REFUSALS: dict[int, type[InvalidRequest]] = {
    error.status: error for error in (TooLarge, UnsupportedMediaType, Unprocessable)
}


def load_upload(place: Place, tenant_id: UUID, upload_id: UUID) -> DirectUpload:
    """The tenant's upload. Raises NotFound, also for one that was given up or whose time is over."""
    with place.engine.connect() as tx:
        seconds = place.settings.upload_abandoned_seconds
        upload = find_upload(tx, tenant_id, upload_id, seconds=seconds)
    if upload is None or (upload.status == "open" and upload.expired):
        raise NotFound(f"There is no upload {upload_id}. It may have been given up: begin again.")
    return upload


def lost(upload: DirectUpload) -> Conflict:
    """What to raise when the store knows nothing of an open upload."""
    return Conflict(
        f"The store doesn't have upload {upload.id} any more. Begin a new one.", code="upload_lost"
    )


def complete_upload(place: Place, upload: DirectUpload, told: Sequence[Part]) -> Answer:
    """The answer of the import, which is made unless it is there. Raises Conflict for parts that aren't
    there or aren't right: the upload stays open then; and for a file that can't be imported what a POST
    of it would raise: it is deleted.
    """
    if upload.status == "completed":
        return _import_of(place, upload)
    if upload.error is not None:
        raise _refusal(upload.error)
    _put_together(place, upload, told)
    try:
        _check_size(place, upload)
        with place.storage.open(upload.object_key, size=upload.size) as source:
            looked = look(source, upload.filename, parse_options(upload.options))
        done = _record(place, upload, looked)
    except TooManyRequests:
        raise  # the file may wait
    except InvalidRequest as error:
        _refuse(place, upload, error)
        raise
    return done or _after_all(place, upload)


def give_up_upload(place: Place, upload: DirectUpload) -> None:
    """Forget it and what came of it. Raises Conflict when it is an import already."""
    with place.engine.begin() as tx:
        forgotten = direct.give_up(tx, upload.id)
    if not forgotten:
        load_upload(place, upload.tenant_id, upload.id)
        raise Conflict("The upload is completed. Cancel the import, or undo it.")
    _delete(place, upload)


def _put_together(place: Place, upload: DirectUpload, told: Sequence[Part]) -> None:
    """Have the store make one object of the parts. Done already is fine: by a request that broke off."""
    storage, key = place.storage, upload.object_key
    stored = storage.list_parts(key, upload.multipart_id)
    if stored is not None:
        received = compare_parts(upload, stored, told)
        if received.wrong:
            raise _parts(
                "have another size or content than announced", "wrong_parts", received.wrong
            )
        if received.missing:
            raise _parts("have not arrived", "missing_parts", received.missing)
        try:
            storage.complete_multipart(key, upload.multipart_id, received.parts)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":
                raise
    if storage.head(key) is None:
        raise lost(upload)


def _parts(what: str, code: str, numbers: Sequence[int]) -> Conflict:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return Conflict(
        f"Parts {shown}{more} {what}. GET the upload for fresh URLs and send them again.", code=code
    )


def _check_size(place: Place, upload: DirectUpload) -> None:
    there = place.storage.head(upload.object_key)
    if there is not None and there.size != upload.size:
        raise Unprocessable(
            f"The file has {there.size} bytes, and {upload.size} were announced. Begin a new upload.",
            code="wrong_size",
        )


def _record(place: Place, upload: DirectUpload, looked: Looked) -> Answer | None:
    """The import, and the end of the upload, in one transaction; None when somebody else has ended it."""
    file = StoredFile(
        object_key=upload.object_key,
        filename=upload.filename,
        size=upload.size,
        layout=looked.layout,
        checksum_wanted=upload.sha256,
        source="direct",
    )
    with place.engine.connect() as tx:
        check_open(tx, upload.tenant_id, place.settings)
        if not direct.complete(tx, upload.id):
            return None
        accept(
            tx,
            upload.tenant_id,
            upload.id,
            file,
            looked,
            mapping=upload.mapping,
            options=parse_options(upload.options),
        )
        answer = accepted_answer(tx, upload.id)
        commit(tx)
    return answer


def _after_all(place: Place, upload: DirectUpload) -> Answer:
    """What somebody else made of it in the meantime."""
    try:
        now = load_upload(place, upload.tenant_id, upload.id)
    except NotFound:
        _delete(place, upload)  # what we put together after it was given up
        raise
    if now.error is not None:
        raise _refusal(now.error)
    return _import_of(place, upload)


def _import_of(place: Place, upload: DirectUpload) -> Answer:
    with place.engine.connect() as tx:
        return accepted_answer(tx, upload.id)


def _refuse(place: Place, upload: DirectUpload, error: InvalidRequest) -> None:
    """First the row, then the file: of a file that somebody else has imported nothing is deleted."""
    facts = {"code": error.code, "message": str(error), "status": error.status}
    with place.engine.begin() as tx:
        refused = direct.refuse(tx, upload.id, facts)
    if refused:
        _delete(place, upload)


def _refusal(error: dict[str, object]) -> InvalidRequest:
    kind = _REFUSALS.get(int(str(error.get("status", 422))), Unprocessable)
    return kind(str(error["message"]), code=str(error["code"]))


def _delete(place: Place, upload: DirectUpload) -> None:
    place.storage.abort_multipart(upload.object_key, upload.multipart_id)
    place.storage.delete(upload.object_key)
    log.info("upload.deleted", upload_id=str(upload.id))
