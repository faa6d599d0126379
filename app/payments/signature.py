"""Whether a delivery comes from the payment provider, by the provider's own library, and whether it is a fresh one."""

from collections.abc import Sequence

from pydantic import SecretStr
from sqlalchemy import Connection, text

from app.errors import InvalidRequest

TOLERANCE_SECONDS = 300

_IS_OLD = text("SELECT :at < extract(epoch FROM clock_timestamp()) - :tolerance")


def signed_at(body: bytes, header: str | None, secrets: Sequence[SecretStr]) -> int:
    """When one of the secrets signed these very bytes, in seconds since the epoch. Raises InvalidRequest where none has.

    What was wrong stays untold: it would help nobody but a forger.
    """
    from stripe import SignatureVerificationError, WebhookSignature  # half a second, and web alone

    for secret in secrets:
        try:
            WebhookSignature.verify_header(body, header, secret.get_secret_value())
            return _time_in(header or "")
        except (SignatureVerificationError, ValueError, TypeError):
            continue  # it chokes on text that isn't ASCII or UTF-8
    raise _refusal()


def check_age(tx: Connection, at: int) -> None:
    """Raises InvalidRequest unless that was in the last five minutes, by the database's clock: this machine's may be off."""
    if tx.execute(_IS_OLD, {"at": at, "tolerance": TOLERANCE_SECONDS}).scalar_one():
        raise _refusal()


def _time_in(header: str) -> int:
    """The first, as the library reads it."""
    return int(next(part[2:] for part in header.split(",") if part.startswith("t=")))


def _refusal() -> InvalidRequest:
    return InvalidRequest(
        "The Stripe-Signature doesn't fit the body, or is older than five minutes. Send the body "
        "unchanged, signed with this endpoint's secret.",
        code="invalid_signature",
    )
