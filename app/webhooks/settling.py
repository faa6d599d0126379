"""What a failed attempt leaves behind, in one transaction."""

from uuid import UUID

from sqlalchemy import Connection

from app.webhooks import health
from app.webhooks.deliveries import Parcel, Try, end_delivery, finish_attempt
from app.webhooks.verdict import Verdict


def record_failure(
    tx: Connection, parcel: Parcel, attempt_id: UUID, tried: Try, verdict: Verdict, *, is_last: bool
) -> bool:
    """Log it, and see to the endpoint; True when the delivery has failed for good."""
    finish_attempt(tx, attempt_id, tried)
    if verdict.is_gone:
        health.disable(tx, parcel.tenant_id, parcel.endpoint_id, "gone")
    else:
        health.is_ill(tx, parcel.tenant_id, parcel.endpoint_id)
    if not (verdict.is_gone or is_last):
        return False
    end_delivery(tx, parcel, "failed", verdict.reason)
    return True
