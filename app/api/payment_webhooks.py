"""Where the payment provider delivers its events: signed, not keyed, and answered 200 once they are kept."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel

from app.api.bodies import BoundedRoute
from app.api.problems import describe
from app.api.session import SettingsDep, Tx
from app.errors import Unavailable
from app.payments.events import record_event
from app.payments.facts import Envelope, read_envelope
from app.payments.signature import check_age, signed_at

router = APIRouter(prefix="/v1", tags=["payments"], route_class=BoundedRoute)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
        "description": "The provider's event, byte for byte as it was signed.",
    },
}


class Receipt(BaseModel):
    """`recorded` is false for an event that had been delivered before."""

    recorded: bool


@dataclass(frozen=True, slots=True)
class _Signed:
    """The provider's event, and when it was signed."""

    event: Envelope
    at: int


async def _raw(request: Request) -> bytes:
    return await request.body()


def _signed(
    body: Annotated[bytes, Depends(_raw)],
    settings: SettingsDep,
    signature: Annotated[str | None, Header(alias="Stripe-Signature")] = None,
) -> _Signed:
    """The event, once it is known to be the provider's. Nothing is read before."""
    if not settings.payment_webhook_secrets:
        raise Unavailable(
            "No signing secret is set: set MILLRACE_PAYMENT_WEBHOOK_SECRETS.",
            code="payments_not_set_up",
        )
    at = signed_at(body, signature, settings.payment_webhook_secrets)
    return _Signed(read_envelope(body), at)


@router.post(
    "/webhooks/payments",
    responses={key: each for key, each in describe(400, 413, 422).items() if key != 401},  # noqa: PLR2004
    openapi_extra=_BODY,
)
def receive_payment_event(
    signed: Annotated[_Signed, Depends(_signed)],
    body: Annotated[bytes, Depends(_raw)],
    tx: Tx,
) -> Receipt:
    """Keep an event of the payment provider's, once however often it is delivered. Any answer but 200
    means: deliver it again.
    """
    check_age(tx, signed.at)
    return Receipt(recorded=record_event(tx, signed.event, body))
