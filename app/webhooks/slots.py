"""How many workers deliveries may hold at once: an endpoint that answers slowly holds few, whatever waits for it.

Under way is what the delivery log says is: an attempt without an answer that is younger than the longest one
may take. So a killed worker's slot is free again after that, and nothing else has to be kept or cleared away.
"""

from random import Random
from uuid import UUID

from sqlalchemy import Connection, text

from app.settings import Settings
from app.webhooks import deliveries
from app.webhooks.deliveries import Parcel, Try
from app.webhooks.sending import SECONDS

SLOW_SECONDS = 3.0
"""An attempt that takes longer makes its endpoint a slow one, until one is quicker."""
UNDER_WAY_SECONDS = SECONDS + 5.0
REMEMBERED_SECONDS = 600.0
"""So long after a slow answer the tenant's other endpoints have one slot together: they may share a server."""
WAIT_PER_DELIVERY = {"quick": 0.05, "unknown": 0.2, "slow": 2.0}
"""Seconds by which each delivery that waits for the endpoint puts the next look off."""
MAX_WAIT_SECONDS = 300.0

# Those who count take turns, so that none counts what another is about to add: the slow and the unknown all
# together, because they share slots over all tenants; the quick ones by tenant. Slow and unknown have slots of
# their own: one slow endpoint with a long backlog must not keep new ones waiting.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('webhook slots ' || :of, 0))")
_UNDER_WAY = text("""
    SELECT count(*) FILTER (WHERE p.pace = :pace) AS alike,
           count(*) FILTER (WHERE p.pace <> 'quick' AND a.tenant_id = :tenant_id) AS own_slow,
           count(*) FILTER (WHERE p.pace = 'quick' AND a.tenant_id = :tenant_id) AS own_quick
    FROM webhook_attempts a
    JOIN webhook_deliveries d ON d.id = a.delivery_id
    JOIN webhook_endpoints p ON p.id = d.endpoint_id
    WHERE a.status IS NULL AND a.error IS NULL AND d.id <> :delivery_id
      AND a.at > clock_timestamp() - make_interval(secs => :seconds)
""")
_SLOW_OF_LATE = text("""
    SELECT EXISTS (SELECT FROM webhook_endpoints
                   WHERE tenant_id = :tenant_id AND pace = 'slow' AND state = 'enabled'
                     AND pace_at > clock_timestamp() - make_interval(secs => :seconds))
""")
_WAITING = text("""
    SELECT count(*) FILTER (WHERE state = 'pending')
    FROM (SELECT state FROM webhook_deliveries WHERE endpoint_id = :endpoint_id
          ORDER BY id DESC LIMIT 500) newest
""")
_PACE = text("""
    UPDATE webhook_endpoints
    SET pace = :pace, pace_at = clock_timestamp(),
        timeouts = CASE WHEN :timed_out THEN timeouts + 1 ELSE 0 END
    WHERE id = :id AND (pace <> :pace OR timeouts > 0 OR :pace = 'slow')
""")


class Busy(Exception):
    """All slots that it may have are taken; look again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("Others are being delivered to this endpoint, or to others as slow.")
        self.seconds = seconds


def begin_attempt(tx: Connection, parcel: Parcel, settings: Settings, dice: Random) -> UUID:
    """Take a slot, which the attempt's line in the log stands for. It is free once that is finished. Raises
    Busy.
    """
    is_quick = parcel.pace == "quick"
    tx.execute(_ALONE, {"of": str(parcel.tenant_id) if is_quick else ""})
    taken = tx.execute(
        _UNDER_WAY,
        {
            "tenant_id": parcel.tenant_id,
            "delivery_id": parcel.id,  # an earlier attempt of its own has lost its worker
            "pace": parcel.pace,
            "seconds": UNDER_WAY_SECONDS,
        },
    ).one()
    if is_quick:
        free = taken.own_quick < _own_slots(tx, parcel, settings)
    else:
        free = taken.own_slow == 0 and taken.alike < settings.webhook_slow_at_once
    if not free:
        raise Busy(_wait(tx, parcel) * dice.uniform(1.0, 1.5))
    return deliveries.begin_attempt(tx, parcel.id)


def finish_attempt(tx: Connection, parcel: Parcel, attempt_id: UUID, tried: Try) -> None:
    """Free the slot, and remember how long it was held."""
    deliveries.finish_attempt(tx, attempt_id, tried)
    pace = "slow" if tried.duration_ms > SLOW_SECONDS * 1000 else "quick"
    tx.execute(_PACE, {"id": parcel.endpoint_id, "pace": pace, "timed_out": tried.timed_out})


def _own_slots(tx: Connection, parcel: Parcel, settings: Settings) -> int:
    """Of the tenant's quick endpoints."""
    values = {"tenant_id": parcel.tenant_id, "seconds": REMEMBERED_SECONDS}
    return 1 if tx.execute(_SLOW_OF_LATE, values).scalar_one() else settings.webhook_at_once


def _wait(tx: Connection, parcel: Parcel) -> float:
    """The more wait for the endpoint, the longer: looking costs a worker some milliseconds each time."""
    waiting: int = tx.execute(_WAITING, {"endpoint_id": parcel.endpoint_id}).scalar_one()
    return min(max(waiting * WAIT_PER_DELIVERY[parcel.pace], 1.0), MAX_WAIT_SECONDS)
