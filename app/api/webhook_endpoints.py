"""Where a tenant wants to be told what has happened."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.api.bodies import BoundedRoute
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.jobs import respond
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, SettingsDep, Tx
from app.api.webhook_deliveries import ACCEPTED, answer_with
from app.api.webhook_view import (
    DeliveryDetail,
    EndpointChange,
    EndpointCreated,
    EndpointRequest,
    EndpointView,
    RotateRequest,
    SecretView,
    endpoint_view,
)
from app.errors import Unprocessable
from app.outbound.errors import OutboundError
from app.outbound.http import OutboundHttp
from app.settings import Settings
from app.webhooks import endpoints
from app.webhooks.emitting import emit_test

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=BoundedRoute)

_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "Created.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where the endpoint is."}
        },
    }
}


def _check(url: str, settings: Settings) -> None:
    """Raises Unprocessable for a URL that would not be called. The call itself checks once more."""
    http = OutboundHttp.of(settings)
    try:
        addresses = http.check(url)
    except OutboundError as error:
        raise Unprocessable(str(error), code=error.code) from None
    if not url.lower().startswith("https:") and not http.all_allowed(addresses):
        raise Unprocessable("Use https: events carry your customers' data.", code="https_needed")


def _checked(
    request: EndpointRequest, _tenant: CurrentTenant, settings: SettingsDep
) -> EndpointRequest:
    """Before a transaction is begun: it may take seconds to look a name up."""
    _check(request.url, settings)
    return request


def _checked_change(
    change: EndpointChange, _tenant: CurrentTenant, settings: SettingsDep
) -> EndpointChange:
    if change.url is not None:
        _check(change.url, settings)
    return change


@router.post(
    "/webhook-endpoints",
    status_code=201,
    response_model=EndpointCreated,
    responses={**_CREATED, **describe(400, 413, 422, 503)},
)
def create_webhook_endpoint(
    request: Annotated[EndpointRequest, Depends(_checked)],
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have events sent to a URL. The answer has the signing secret; it is not shown again, and a repeated
    request with the same `Idempotency-Key` gets it replaced by a hint.
    """
    hashed = request_hash(request.model_dump(mode="json"))
    secrets: list[str] = []

    def make() -> Answer:
        made, secret = endpoints.create(tx, tenant_id, settings, **request.model_dump())
        secrets.append(secret)
        view = endpoint_view(endpoints.load(tx, tenant_id, made)).model_dump(mode="json")
        return Answer(
            request_hash=hashed,
            status=201,
            location=f"/v1/webhook-endpoints/{made}",
            body={**view, "secret": "(shown once; rotate it to get another)"},
        )

    operation = "POST /v1/webhook-endpoints"
    answer = answer_once(tx, tenant_id, operation, idempotency_key, hashed, make)
    for secret in secrets:
        answer.body["secret"] = secret
    return respond(answer)


@router.get("/webhook-endpoints", responses=describe(400, 422))
def list_webhook_endpoints(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[EndpointView]:
    """The tenant's endpoints, newest first."""
    found = endpoints.page(tx, tenant_id, before=decode_id_cursor(cursor), limit=limit + 1)
    return page_of([endpoint_view(each) for each in found], lambda item: item.id, limit)


@router.get("/webhook-endpoints/{endpoint_id}", responses=describe(404, 422))
def get_webhook_endpoint(endpoint_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> EndpointView:
    """One endpoint."""
    return endpoint_view(endpoints.load(tx, tenant_id, endpoint_id))


@router.patch("/webhook-endpoints/{endpoint_id}", responses=describe(400, 404, 413, 422))
def change_webhook_endpoint(
    endpoint_id: UUID,
    change: Annotated[EndpointChange, Depends(_checked_change)],
    tenant_id: CurrentTenant,
    tx: Tx,
) -> EndpointView:
    """Change what is sent, leave the rest. What waits to be delivered goes to the new URL."""
    endpoints.change(tx, tenant_id, endpoint_id, change.model_dump(exclude_unset=True))
    return endpoint_view(endpoints.load(tx, tenant_id, endpoint_id))


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204, responses=describe(404, 422))
def delete_webhook_endpoint(endpoint_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> None:
    """Delete it with its log. What waits to be delivered is not sent."""
    endpoints.delete(tx, tenant_id, endpoint_id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate-secret", responses=describe(400, 404, 413, 422, 503)
)
def rotate_webhook_secret(
    endpoint_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    request: RotateRequest | None = None,
) -> SecretView:
    """A new signing secret. For `keep_seconds` (a day, if not said) messages carry both signatures."""
    keep = (request or RotateRequest()).keep_seconds
    secret = endpoints.rotate(tx, tenant_id, endpoint_id, settings, keep_seconds=keep)
    until = endpoints.load(tx, tenant_id, endpoint_id).previous_secret_until
    return SecretView(secret=secret, previous_secret_until=until)


@router.post(
    "/webhook-endpoints/{endpoint_id}/test",
    status_code=202,
    response_model=DeliveryDetail,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def send_test_webhook(endpoint_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> Response:
    """Send a `webhook.test` event to this endpoint."""
    return answer_with(tx, tenant_id, emit_test(tx, tenant_id, endpoint_id))
