"""Exports: order a file of a table's rows, see what becomes of it, fetch it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.api.bodies import BoundedRoute
from app.api.export_view import ExportView, accepted_answer, load_export, select_exports, view_of
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.jobs import ACCEPTED, respond
from app.api.pages import Cursor, Limit, Page, newest, page_of
from app.api.problems import describe
from app.api.session import AftermathsDep, CurrentTenant, PlaceDep, SettingsDep, Tx
from app.errors import Conflict, Gone
from app.exports.lifecycle import cancel_export, place_order
from app.exports.order import Order, content_type_of
from app.models.exports import Export

router = APIRouter(prefix="/v1", tags=["exports"], route_class=BoundedRoute)

OPERATION = "POST /v1/exports"
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, where the object store can't be reached from outside.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    307: {
        "description": "The file is at `Location`, an address that is good for a few minutes. Don't send "
        "the API key there.",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
}


@router.post(
    "/exports",
    status_code=202,
    response_model=ExportView,
    responses={**ACCEPTED, **describe(400, 413, 422, 429)},
)
def create_export(
    order: Order,
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have the tenant's rows written into a file; a mail says when it is there."""
    hashed = request_hash(order.model_dump(mode="json"))

    def make() -> Answer:
        export_id = place_order(tx, tenant_id, order, max_open=settings.export_max_open)
        return accepted_answer(tx, tenant_id, export_id, hashed)

    return respond(answer_once(tx, tenant_id, OPERATION, idempotency_key, hashed, make))


@router.get("/exports", responses=describe(400, 422))
def list_exports(
    tenant_id: CurrentTenant,
    tx: Tx,
    target: Annotated[str | None, Query(description="Only of this table, or report.")] = None,
    status: Annotated[str | None, Query(description="Only those that stand like this.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ExportView]:
    """The tenant's exports and reports, newest first."""
    query = select_exports(tenant_id)
    if target is not None:
        query = query.where(Export.target == target)
    if status is not None:
        query = query.where(Export.status == status)
    rows = newest(tx, query, Export.id, cursor, limit)
    return page_of([view_of(row) for row in rows], lambda each: each.id, limit)


@router.get("/exports/{export_id}", responses=describe(404, 422))
def get_export(export_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> ExportView:
    """One export, with how far it is."""
    return view_of(load_export(tx, tenant_id, export_id))


@router.post(
    "/exports/{export_id}/cancel",
    status_code=202,
    response_model=ExportView,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def cancel(
    export_id: UUID, tenant_id: CurrentTenant, tx: Tx, aftermaths: AftermathsDep
) -> Response:
    """Cancel an export that has not ended; safe to repeat."""
    reason = "The export was cancelled on request."
    cancel_export(tx, aftermaths, tenant_id, export_id, reason=reason)
    return respond(accepted_answer(tx, tenant_id, export_id))


@router.get(
    "/exports/{export_id}/download",
    response_class=Response,
    responses={**_FILE, **describe(404, 409, 410, 422)},
)
def download_export(export_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> Response:
    """The file: by a link that is good for a few minutes, or straight from here."""
    with place.engine.connect() as tx:
        row = load_export(tx, tenant_id, export_id)
    if row.status != "succeeded":
        raise Conflict(_no_file(export_id, row.status), code="export_not_ready")
    if row.expires_at <= row.now:
        raise Gone(
            f"Export {export_id} was kept until {row.expires_at.isoformat()}. Order it again.",
            code="export_expired",
        )
    settings, content_type = place.settings, content_type_of(row.format)
    if settings.s3_public_endpoint_url or settings.s3_endpoint_url is None:
        link = place.storage.presign(
            row.object_key,
            seconds=int(settings.export_link_seconds),
            filename=row.filename,
            content_type=content_type,
        )
        return RedirectResponse(link, headers={"Cache-Control": "no-store"})
    return StreamingResponse(
        place.storage.stream(row.object_key),
        media_type=content_type,
        headers={
            "Content-Length": str(row.bytes),
            "Content-Disposition": f'attachment; filename="{row.filename}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


def _no_file(export_id: UUID, status: str) -> str:
    if status in {"queued", "running"}:
        return f"Export {export_id} is {status}. Ask again when it has succeeded."
    return f"Export {export_id} was {status}; there is no file. Order it again."
