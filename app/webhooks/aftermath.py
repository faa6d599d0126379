"""When a delivery's job ends without having settled the delivery itself: a fault of ours, or cancelled."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from app.jobs import WebhookDeliver
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract

_ENDED = text("""
    UPDATE webhook_deliveries
    SET state = :state, reason = :reason, finished_at = clock_timestamp()
    WHERE id = :id AND run = :run AND state = 'pending'
""")
_REVIVED = text("""
    UPDATE webhook_deliveries
    SET state = 'pending', reason = NULL, finished_at = NULL, opened_at = clock_timestamp()
    WHERE id = :id AND run = :run AND state IN ('failed', 'cancelled')
""")


def deliver_ended(tx: Connection, job: WebhookDeliver, ending: Ending) -> Sequence[JobContract]:
    """The log says that it failed, or was cancelled."""
    state = "cancelled" if ending.state.value == "cancelled" else "failed"
    facts = {"id": job.delivery_id, "run": job.run, "state": state}
    tx.execute(_ENDED, {**facts, "reason": ending.error["message"]})
    return ()


def deliver_revived(tx: Connection, job: WebhookDeliver) -> Sequence[JobContract]:
    """It is to be sent after all."""
    tx.execute(_REVIVED, {"id": job.delivery_id, "run": job.run})
    return ()
