"""Imports: hand in a file, see how it goes."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.api.accept import accept_upload, upload_request
from app.api.idempotency import IdempotencyHeader
from app.api.import_bodies import ACCEPTED, FILE_BODY, QueryForm
from app.api.import_intake import import_kind
from app.api.import_view import ImportView, load_import, select_imports, view_of
from app.api.pages import Cursor, Limit, Page, newest, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, PlaceDep, Tx
from app.imports.lifecycle import missing
from app.models.imports import Import

router = APIRouter(prefix="/v1", tags=["imports"])

OPERATION = "POST /v1/imports"


@router.post(
    "/imports",
    status_code=202,
    response_model=ImportView,
    openapi_extra={"requestBody": FILE_BODY},
    responses={**ACCEPTED, **describe(400, 413, 415, 422, 429)},
)
async def create_import(
    request: Request,
    tenant_id: CurrentTenant,
    place: PlaceDep,
    query: QueryForm,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Import a file: CSV in any encoding and dialect, plain, gzipped or in a zip archive, or XLSX."""
    upload = upload_request(
        request, tenant_id, query, operation=OPERATION, idempotency_key=idempotency_key
    )
    return await accept_upload(upload, place, import_kind())


@router.get("/imports", responses=describe(400, 422))
def list_imports(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[ImportView]:
    """The tenant's imports, newest first."""
    query = select_imports().where(Import.tenant_id == tenant_id)
    rows = newest(tx, query, Import.id, cursor, limit)
    return page_of([view_of(row) for row in rows], lambda item: item.id, limit)


@router.get("/imports/{import_id}", responses=describe(404, 422))
def get_import(import_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> ImportView:
    """One import, with its progress and counts as of now."""
    row = load_import(tx, import_id, tenant_id)
    if row is None:
        raise missing(import_id)
    return view_of(row)
