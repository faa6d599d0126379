"""What a person does about an import: cancel it, undo it, have its rejected rows imported again."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from sqlalchemy import Connection

from app.api.accept import accept_upload, respond, upload_request
from app.api.bodies import Body, read_body
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.import_bodies import ACCEPTED, FILE_BODY, QueryForm
from app.api.import_intake import Received, Record, import_kind
from app.api.import_view import ImportView, accepted_answer
from app.api.problems import describe
from app.api.session import CurrentTenant, Place, PlaceDep, Tx
from app.ids import new_id
from app.imports.lifecycle import cancel_import
from app.imports.limits import check_open
from app.imports.retrying import start_retry
from app.imports.undoing import start_undo
from app.retention import days_kept

router = APIRouter(prefix="/v1", tags=["imports"])


class RetryRequest(Body):
    """What is to be different this time; what is left out is as it was."""

    mapping: dict[str, str] | None = None
    options: Annotated[
        dict[str, Any] | None, Field(description="As ImportOptions, any of them.")
    ] = None


_RETRY_BODY: dict[str, Any] = {
    "required": False,
    "description": "Nothing or JSON: the rejected rows as they were. A file: the corrected rejected.csv.",
    "content": {
        "application/json": {"schema": RetryRequest.model_json_schema()},
        **FILE_BODY["content"],
    },
}


@router.post(
    "/imports/{import_id}/cancel",
    status_code=202,
    response_model=ImportView,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def cancel(import_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> Response:
    """Cancel an import that has not ended; safe to repeat. What is imported by now stays and is counted."""
    cancel_import(tx, tenant_id, import_id)
    return respond(accepted_answer(tx, import_id))


@router.post(
    "/imports/{import_id}/undo",
    status_code=202,
    response_model=ImportView,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def undo(
    import_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    place: PlaceDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Take back what an import wrote, except for rows that were changed since."""

    def make() -> Answer:
        start_undo(
            tx,
            tenant_id,
            import_id,
            days=days_kept(tx, place.settings, tenant_id, "import_undo_data"),
            window=place.settings.import_parallel_chunks,
        )
        return accepted_answer(tx, import_id, request)

    request = request_hash(str(import_id))
    operation = "POST /v1/imports/{id}/undo"
    return respond(answer_once(tx, tenant_id, operation, idempotency_key, request, make))


@router.post(
    "/imports/{import_id}/retry",
    status_code=202,
    response_model=ImportView,
    openapi_extra={"requestBody": _RETRY_BODY},
    responses={**ACCEPTED, **describe(400, 404, 409, 413, 415, 422, 429)},
)
async def retry(
    import_id: UUID,
    request: Request,
    tenant_id: CurrentTenant,
    place: PlaceDep,
    query: QueryForm,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Import the rejected rows of an import again, as they were or corrected; no other row is touched."""
    operation = f"POST /v1/imports/{import_id}/retry"
    if _has_file(request):
        upload = upload_request(
            request, tenant_id, query, operation=operation, idempotency_key=idempotency_key
        )
        return await accept_upload(upload, place, import_kind(_corrected(import_id)))
    wanted = _retry_request(await read_body(request))
    retry_as_they_were = partial(
        _retry, place, tenant_id, import_id, wanted, operation=operation, key=idempotency_key
    )
    return respond(await anyio.to_thread.run_sync(retry_as_they_were))


def _has_file(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type not in {"", "application/json"}


def _corrected(parent_id: UUID) -> Record:
    def record(tx: Connection, tenant_id: UUID, received: Received) -> None:
        start_retry(
            tx,
            tenant_id,
            parent_id,
            received.import_id,
            file=received.file,
            mapping=received.form.mapping,
            options=received.form.options,
        )

    return record


def _retry(
    place: Place,
    tenant_id: UUID,
    parent_id: UUID,
    wanted: RetryRequest,
    *,
    operation: str,
    key: str | None,
) -> Answer:
    request = request_hash(wanted.model_dump(mode="json"))
    with place.engine.begin() as tx:

        def make() -> Answer:
            check_open(tx, tenant_id, place.settings)
            import_id = new_id()
            start_retry(
                tx,
                tenant_id,
                parent_id,
                import_id,
                mapping=wanted.mapping,
                options=wanted.options,
            )
            return accepted_answer(tx, import_id, request)

        return answer_once(tx, tenant_id, operation, key, request, make)


def _retry_request(body: bytes) -> RetryRequest:
    """Raises RequestValidationError."""
    if not body.strip():
        return RetryRequest()
    try:
        return RetryRequest.model_validate_json(body)
    except ValidationError as bad:
        raise RequestValidationError(
            [{**each, "loc": ("body", *each["loc"])} for each in bad.errors()]
        ) from None
