"""What an attempt leaves behind, in one transaction."""

from uuid import UUID

from sqlalchemy import Connection

from app.webhooks import health
from app.webhooks.deliveries import Parcel, Try, end_delivery
from app.webhooks.slots import finish_attempt
from app.webhooks.verdict import Verdict


def give_up(tx: Connection, parcel: Parcel, reason: str) -> None:
    """Nothing more is sent."""
    end_delivery(tx, parcel, "failed" if parcel.is_enabled else "cancelled", reason)


def record_success(tx: Connection, parcel: Parcel, attempt_id: UUID, tried: Try) -> None:
    """It arrived."""
    finish_attempt(tx, parcel, attempt_id, tried)
    end_delivery(tx, parcel, "delivered")
    health.is_well(tx, parcel.endpoint_id)


def record_failure(
    tx: Connection, parcel: Parcel, attempt_id: UUID, tried: Try, verdict: Verdict, *, is_last: bool
) -> bool:
    """Log it, and see to the endpoint; True when the delivery has failed for good."""
    finish_attempt(tx, parcel, attempt_id, tried)
    if verdict.is_gone:
        health.disable(tx, parcel.tenant_id, parcel.endpoint_id, "gone")
    else:
        health.is_ill(tx, parcel.tenant_id, parcel.endpoint_id)
    if not (verdict.is_gone or is_last):
        return False
    end_delivery(tx, parcel, "failed", verdict.reason)
    return True
