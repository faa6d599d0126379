"""The delivery log: what was sent where, how each attempt went, and sending it again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.api.webhook_view import DeliveryDetail, DeliveryView, delivery_detail, delivery_view
from app.webhooks import deliveries

router = APIRouter(prefix="/v1", tags=["webhooks"])

ACCEPTED: Mapping[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Where its log is."}},
    }
}


@router.get("/webhook-deliveries", responses=describe(400, 422))
def list_webhook_deliveries(
    tenant_id: CurrentTenant,
    tx: Tx,
    endpoint: Annotated[UUID | None, Query(description="Of this endpoint alone.")] = None,
    state: Annotated[Literal["pending", "delivered", "failed", "cancelled"] | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryView]:
    """The tenant's deliveries, newest first."""
    rows = deliveries.page(
        tx,
        tenant_id,
        endpoint_id=endpoint,
        state=state,
        before=decode_id_cursor(cursor),
        limit=limit + 1,
    )
    return page_of([delivery_view(row) for row in rows], lambda item: item.id, limit)


@router.get("/webhook-deliveries/{delivery_id}", responses=describe(404, 422))
def get_webhook_delivery(delivery_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> DeliveryDetail:
    """One delivery, with every attempt."""
    return delivery_detail(*deliveries.view(tx, tenant_id, delivery_id))


@router.post(
    "/webhook-deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryDetail,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def redeliver_webhook(delivery_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> Response:
    """Send it again now, with the same `webhook-id`, whatever became of it before."""
    deliveries.redeliver(tx, tenant_id, delivery_id)
    return answer_with(tx, tenant_id, delivery_id)


def answer_with(tx: Connection, tenant_id: UUID, delivery_id: UUID) -> JSONResponse:
    """202 with the delivery as it stands in this transaction."""
    shown = delivery_detail(*deliveries.view(tx, tenant_id, delivery_id))
    return JSONResponse(
        shown.model_dump(mode="json"),
        status_code=202,
        headers={"Location": f"/v1/webhook-deliveries/{delivery_id}"},
    )
