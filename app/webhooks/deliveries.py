"""The delivery log: what was to be sent where, and every attempt at it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict, NotFound
from app.ids import new_id
from app.jobs import WebhookDeliver
from app.ledger.enqueue import enqueue
from app.ledger.job_error import printable

_LOAD = text("""
    SELECT d.id, d.tenant_id, d.run, d.event_id, d.endpoint_id, d.state, e.type, e.data,
           e.created_at AS happened_at, p.url, p.state = 'enabled' AS is_enabled, p.secret,
           p.pace, p.timeouts,
           CASE WHEN p.previous_secret_until > clock_timestamp() THEN p.previous_secret END
               AS previous_secret,
           clock_timestamp() AS now, d.opened_at
    FROM webhook_deliveries d
    JOIN webhook_events e ON e.id = d.event_id
    JOIN webhook_endpoints p ON p.id = d.endpoint_id
    WHERE d.id = :id AND d.tenant_id = :tenant_id
""")
_BEGIN = text("""
    INSERT INTO webhook_attempts (id, tenant_id, delivery_id, number)
    SELECT :attempt_id, tenant_id, id, attempts + 1 FROM webhook_deliveries WHERE id = :id
""")
_COUNT = text("UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE id = :id")
_FINISH = text("""
    UPDATE webhook_attempts
    SET status = :status, error = :error, duration_ms = :duration_ms, excerpt = :excerpt
    WHERE id = :attempt_id
""")
_END = text("""
    UPDATE webhook_deliveries
    SET state = :state, reason = :reason, finished_at = clock_timestamp()
    WHERE id = :id AND run = :run AND state = 'pending'
""")
_REOPEN = text("""
    UPDATE webhook_deliveries
    SET state = 'pending', job_id = :job_id, run = :run, reason = NULL, finished_at = NULL,
        opened_at = clock_timestamp()
    WHERE id = :id
""")
_OWN = text("""
    SELECT p.state, d.run FROM webhook_deliveries d JOIN webhook_endpoints p ON p.id = d.endpoint_id
    WHERE d.id = :id AND d.tenant_id = :tenant_id FOR UPDATE OF d
""")
_VIEW = """
    SELECT d.id, d.event_id, d.endpoint_id, d.job_id, d.state, d.reason, d.attempts, d.created_at,
           d.finished_at, e.type, e.data, e.created_at AS happened_at
    FROM webhook_deliveries d JOIN webhook_events e ON e.id = d.event_id
    WHERE d.tenant_id = :tenant_id
"""
_ONE = text(f"{_VIEW} AND d.id = :id")
_PAGE = text(f"""{_VIEW}
      AND (CAST(:endpoint_id AS uuid) IS NULL OR d.endpoint_id = :endpoint_id)
      AND (CAST(:state AS text) IS NULL OR d.state = :state)
      AND (CAST(:before AS uuid) IS NULL OR d.id < :before)
    ORDER BY d.id DESC LIMIT :limit
""")
_ATTEMPTS = text("""
    SELECT number, at, status, error, duration_ms, excerpt FROM webhook_attempts
    WHERE delivery_id = :id ORDER BY id DESC LIMIT 100
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """All that a delivery needs. The secrets are sealed; `previous_secret` is None once it is out of force."""

    id: UUID
    tenant_id: UUID
    run: int
    event_id: UUID
    endpoint_id: UUID
    state: str
    type: str
    data: dict[str, Any]
    happened_at: datetime
    url: str
    is_enabled: bool
    secret: bytes
    previous_secret: bytes | None
    pace: str
    timeouts: int
    now: datetime
    opened_at: datetime

    def __repr__(self) -> str:
        """Without what it carries: a traceback may show it."""
        return f"Parcel({self.id})"

    @property
    def age_seconds(self) -> float:
        """Since it was first to be sent, or again."""
        return (self.now - self.opened_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """How an attempt went: the status, or why there was none; the first of the answer's body."""

    status: int | None
    error: str | None
    duration_ms: int
    excerpt: str | None
    timed_out: bool = False


def load_parcel(tx: Connection, tenant_id: UUID, delivery_id: UUID) -> Parcel | None:
    """None when the endpoint, and so the delivery, was deleted."""
    row = tx.execute(_LOAD, {"id": delivery_id, "tenant_id": tenant_id}).one_or_none()
    return None if row is None else Parcel(**row._mapping)  # noqa: SLF001


def begin_attempt(tx: Connection, delivery_id: UUID) -> UUID:
    """A line in the log before the request: an attempt whose worker dies is seen too."""
    attempt_id = new_id()
    tx.execute(_BEGIN, {"attempt_id": attempt_id, "id": delivery_id})
    tx.execute(_COUNT, {"id": delivery_id})
    return attempt_id


def finish_attempt(tx: Connection, attempt_id: UUID, tried: Try) -> None:
    """How it went."""
    tx.execute(
        _FINISH,
        {
            "attempt_id": attempt_id,
            "status": tried.status,
            "error": tried.error,
            "duration_ms": tried.duration_ms,
            "excerpt": None if tried.excerpt is None else printable(tried.excerpt),
        },
    )


def end_delivery(tx: Connection, parcel: Parcel, state: str, reason: str | None = None) -> None:
    """`delivered`, `failed` or `cancelled`; without effect where another run has begun."""
    facts = {"id": parcel.id, "run": parcel.run, "state": state, "reason": reason}
    tx.execute(_END, facts)


def redeliver(tx: Connection, tenant_id: UUID, delivery_id: UUID) -> None:
    """Send it again, at once, with all its attempts and the same webhook-id, whatever became of it. A job
    that is still trying stands back. Raises NotFound, and Conflict when the endpoint is disabled.
    """
    row = tx.execute(_OWN, {"id": delivery_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook delivery {delivery_id}.")
    if row.state != "enabled":
        raise Conflict("The endpoint is disabled. Enable it first.", code="endpoint_disabled")
    again = WebhookDeliver(delivery_id=delivery_id, run=row.run + 1)
    job = enqueue(tx, tenant_id, again)
    tx.execute(_REOPEN, {"id": delivery_id, "job_id": job.id, "run": again.run})


def view(tx: Connection, tenant_id: UUID, delivery_id: UUID) -> tuple[Row[Any], list[Row[Any]]]:
    """A delivery and its attempts, the last first. Raises NotFound."""
    row = tx.execute(_ONE, {"id": delivery_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook delivery {delivery_id}.")
    return row, list(tx.execute(_ATTEMPTS, {"id": delivery_id}))


def page(
    tx: Connection,
    tenant_id: UUID,
    *,
    endpoint_id: UUID | None,
    state: str | None,
    before: UUID | None,
    limit: int,
) -> list[Row[Any]]:
    """The newest first."""
    return list(
        tx.execute(
            _PAGE,
            {
                "tenant_id": tenant_id,
                "endpoint_id": endpoint_id,
                "state": state,
                "before": before,
                "limit": limit,
            },
        )
    )
