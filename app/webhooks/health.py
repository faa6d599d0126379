"""Whether an endpoint is worth asking: how long it has been failing, and when it is switched off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, text

from app.outbound.breaker import Breaker, BreakerPolicy, Permit
from app.webhooks.deliveries import Parcel
from app.webhooks.emitting import emit
from app.webhooks.endpoints import circuit_scope
from app.webhooks.verdict import Verdict

log = structlog.get_logger()

FAILING_DAYS = 5
BREAKER = BreakerPolicy(
    threshold=5, window_seconds=300, cool_down_seconds=10, cool_down_cap_seconds=900
)

_WELL = text("""
    UPDATE webhook_endpoints SET failing_since = NULL WHERE id = :id AND failing_since IS NOT NULL
""")
_ILL = text("""
    UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, clock_timestamp())
    WHERE id = :id
    RETURNING failing_since < clock_timestamp() - make_interval(days => :days)
""")
_DISABLE = text("""
    UPDATE webhook_endpoints
    SET state = 'disabled', disabled_reason = :reason, disabled_at = clock_timestamp(),
        updated_at = clock_timestamp()
    WHERE id = :id AND state = 'enabled'
    RETURNING url
""")


def breaker_of(engine: Engine, parcel: Parcel) -> Breaker:
    """The endpoint's, which all workers share: a dead one holds no worker."""
    return Breaker(engine, parcel.tenant_id, circuit_scope(parcel.endpoint_id), BREAKER)


@contextmanager
def reporting(breaker: Breaker, permit: Permit) -> Iterator[Callable[[Verdict], Verdict]]:
    """The block hands its verdict to what this gives it, and gets it back; without one the breaker learns
    nothing.
    """
    verdicts: list[Verdict] = []

    def report(verdict: Verdict) -> Verdict:
        verdicts.append(verdict)
        return verdict

    try:
        yield report
    finally:
        verdict = verdicts[0] if verdicts else Verdict(is_down=None)
        if verdict.is_down is None:
            breaker.let_go(permit)
        elif verdict.is_down:
            breaker.failed(permit, verdict.reason, retry_after=verdict.retry_after)
        else:
            breaker.succeeded(permit)


def is_well(tx: Connection, endpoint_id: UUID) -> None:
    """A delivery arrived."""
    tx.execute(_WELL, {"id": endpoint_id})


def is_ill(tx: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    """A delivery didn't. After FAILING_DAYS without one that did, the endpoint is disabled."""
    too_long = tx.execute(_ILL, {"id": endpoint_id, "days": FAILING_DAYS}).scalar_one_or_none()
    if too_long:
        disable(tx, tenant_id, endpoint_id, "failing")


def disable(
    tx: Connection, tenant_id: UUID, endpoint_id: UUID, reason: Literal["gone", "failing"]
) -> None:
    """It gets nothing any more; the tenant's other endpoints are told."""
    url = tx.execute(_DISABLE, {"id": endpoint_id, "reason": reason}).scalar_one_or_none()
    if url is None:
        return
    log.warning("webhook.endpoint_disabled", endpoint_id=str(endpoint_id), reason=reason)
    data = {"endpoint_id": endpoint_id, "url": url, "reason": reason}
    emit(tx, tenant_id, "webhook_endpoint.disabled", data)
