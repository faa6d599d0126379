"""One attempt: sign the message and send it, after the Standard Webhooks specification."""

import json
import time
from datetime import UTC

from standardwebhooks import Webhook

from app.outbound.errors import OutboundError, TimedOut
from app.outbound.http import Answer, OutboundHttp
from app.sealing import unseal
from app.settings import Settings
from app.webhooks.deliveries import Parcel, Try

SECONDS = 15.0
HASTY_SECONDS = 5.0
HASTY_AFTER = 2
EXCERPT_BYTES = 1024


def time_limit(parcel: Parcel, *, is_probe: bool) -> float:
    """Seconds for one attempt. An endpoint that nobody knows yet, and one that timed out of late, hold a worker
    for less; the breaker's probe is alone and has them all, so that one that needs ten seconds comes back.
    """
    is_hasty = parcel.pace == "unknown" or parcel.timeouts >= HASTY_AFTER
    return HASTY_SECONDS if is_hasty and not is_probe else SECONDS


def send(
    settings: Settings, parcel: Parcel, *, seconds: float
) -> tuple[Answer | OutboundError, Try]:
    """What came back, and its line in the log. `webhook-id` is the event's, and the same in every attempt;
    the time is now, by the database's clock; each secret in force has a signature. Raises CannotOpen where the key is gone.
    """
    body = message(parcel)
    signed = headers(parcel, body, settings)
    began = time.monotonic()
    came: Answer | OutboundError
    try:
        came = OutboundHttp.of(settings).send(
            "POST",
            parcel.url,
            headers=signed,
            content=body.encode(),
            seconds=seconds,
            max_bytes=EXCERPT_BYTES,
            excerpt=True,
        )
    except OutboundError as error:
        came = error
    took = round((time.monotonic() - began) * 1000)
    if isinstance(came, OutboundError):
        late = isinstance(came, TimedOut)
        return came, Try(
            status=None, error=str(came), duration_ms=took, excerpt=None, timed_out=late
        )
    excerpt = came.body.decode("utf-8", "replace")
    return came, Try(status=came.status, error=None, duration_ms=took, excerpt=excerpt)


def message(parcel: Parcel) -> str:
    """The same in every attempt."""
    return json.dumps(
        {
            "type": parcel.type,
            "timestamp": parcel.happened_at.astimezone(UTC).isoformat(),
            "data": parcel.data,
        },
        separators=(",", ":"),
    )


def headers(parcel: Parcel, body: str, settings: Settings) -> dict[str, str]:
    """The newest secret's signature first."""
    webhook_id, now = f"msg_{parcel.event_id.hex}", parcel.now
    sealed = [parcel.secret, *([parcel.previous_secret] if parcel.previous_secret else [])]
    secrets = [unseal(each, settings, owner=parcel.endpoint_id) for each in sealed]
    return {
        "content-type": "application/json",
        "user-agent": "Millrace-Webhooks/1",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            Webhook(each).sign(webhook_id, now, body) for each in secrets
        ),
    }
