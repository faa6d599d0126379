"""Imports: hand in a file, see how it goes, fetch what was rejected."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from app.api.accept import UploadRequest, accept_upload
from app.api.idempotency import IdempotencyHeader
from app.api.import_view import ImportView, view_of
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.rejected_csv import rejected_csv
from app.api.session import CurrentTenant, EngineDep, SettingsDep, StorageDep, Tx
from app.api.upload_form import DEFAULT_FILENAME, Form, parse_mapping, parse_options
from app.errors import NotFound
from app.models import Import

router = APIRouter(prefix="/v1", tags=["imports"])

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "mapping": {
                        "type": "string",
                        "description": 'JSON: {"Column header": "field"}',
                    },
                    "options": {"type": "string", "description": "JSON object"},
                },
            }
        },
        "text/csv": {"schema": {"type": "string", "format": "binary"}},
    },
}
_LOCATION: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted; the import goes on in the background.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to watch the import."}
        },
    }
}


@router.post(
    "/imports",
    status_code=202,
    response_model=ImportView,
    openapi_extra={"requestBody": _BODY},
    responses={**_LOCATION, **describe(400, 413, 415, 422)},
)
async def create_import(
    request: Request,
    tenant_id: CurrentTenant,
    engine: EngineDep,
    storage: StorageDep,
    settings: SettingsDep,
    idempotency_key: IdempotencyHeader = None,
    filename: Annotated[str, Query(max_length=255)] = DEFAULT_FILENAME,
    mapping: Annotated[str | None, Query(description="As the form's part.")] = None,
    options: Annotated[str | None, Query(description="As the form's part.")] = None,
) -> Response:
    """Upload a CSV file of contacts: UTF-8, RFC 4180, with a header row that has an e-mail column."""
    query = Form(
        filename,
        parse_mapping(mapping) if mapping else {},
        parse_options(options) if options else {},
    )
    upload = UploadRequest(
        tenant_id=tenant_id,
        content_type=request.headers.get("content-type", ""),
        content_length=_length(request),
        body=request.stream(),
        query=query,
        idempotency_key=idempotency_key,
    )
    return await accept_upload(upload, engine=engine, storage=storage, settings=settings)


@router.get("/imports", responses=describe(400, 422))
def list_imports(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[ImportView]:
    """The tenant's imports, newest first."""
    query = select(Import.__table__).where(Import.tenant_id == tenant_id)
    after = decode_id_cursor(cursor)
    if after is not None:
        query = query.where(Import.id < after)
    rows = tx.execute(query.order_by(Import.id.desc()).limit(limit + 1)).all()
    return page_of([view_of(row) for row in rows], lambda item: item.id, limit)


@router.get("/imports/{import_id}", responses=describe(404, 422))
def get_import(import_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> ImportView:
    """One import, with its progress and counts as of now."""
    row = tx.execute(
        select(Import.__table__).where(Import.id == import_id, Import.tenant_id == tenant_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no import {import_id}.")
    return view_of(row)


@router.get(
    "/imports/{import_id}/rejected.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}, **describe(404, 422)},
)
def get_rejected(
    import_id: UUID, tenant_id: CurrentTenant, tx: Tx, engine: EngineDep
) -> StreamingResponse:
    """The rejected rows as they were sent, plus `_row`, `_column` and `_error`."""
    columns: list[str] | None = tx.execute(
        select(Import.columns).where(Import.id == import_id, Import.tenant_id == tenant_id)
    ).scalar_one_or_none()
    if columns is None:
        raise NotFound(f"There is no import {import_id}.")
    return StreamingResponse(
        rejected_csv(engine, import_id, columns),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="rejected-{import_id}.csv"'},
    )


def _length(request: Request) -> int | None:
    value = request.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None
