"""Whether a delivery comes from the payment provider, by the provider's own library."""

from collections.abc import Sequence

from pydantic import SecretStr

from app.errors import InvalidRequest

TOLERANCE_SECONDS = 300


def check_signature(body: bytes, header: str | None, secrets: Sequence[SecretStr]) -> None:
    """Raises InvalidRequest unless one of the secrets signed these very bytes in the last five minutes.

    What was wrong stays untold: it would help nobody but a forger.
    """
    from stripe import SignatureVerificationError, WebhookSignature  # half a second, and web alone

    for secret in secrets:
        try:
            WebhookSignature.verify_header(
                body, header, secret.get_secret_value(), TOLERANCE_SECONDS
            )
        except (SignatureVerificationError, ValueError, TypeError):
            continue  # it chokes on text that isn't ASCII or UTF-8
        return
    raise InvalidRequest(
        "The Stripe-Signature doesn't fit the body, or is older than five minutes. Send the body "
        "unchanged, signed with this endpoint's secret.",
        code="invalid_signature",
    )
