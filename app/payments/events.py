"""The provider's events as they came: each is kept once, by its id, together with the job that applies it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import NotFound
from app.ids import SYSTEM_TENANT, new_id
from app.jobs import PaymentApplyEvent
from app.ledger.enqueue import NewJob, enqueue_many
from app.payments.facts import Envelope, read_facts

REPLAY_PAGE = 1000

_RECORD = text("""
    INSERT INTO payment_events (id, event_id, type, created, customer_id, body)
    VALUES (:id, :event_id, :type, :created, :customer_id, :body)
    ON CONFLICT (event_id) DO NOTHING
    RETURNING id
""")
_AGAIN = text("""
    UPDATE payment_events SET state = 'received', problem = NULL WHERE id IN (
        SELECT id FROM payment_events
        WHERE (CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id)
          AND (CAST(:event_id AS text) IS NULL OR event_id = :event_id)
          AND (CAST(:since AS timestamptz) IS NULL OR received_at >= :since)
          AND id > :after
        ORDER BY id LIMIT :limit FOR UPDATE)
    RETURNING id
""")
_PAGE = text("""
    SELECT id, event_id, type, created, received_at, applied_at, state, problem
    FROM payment_events
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events: one by the provider's id, or all received since; of one tenant, or of any."""

    tenant_id: UUID | None = None
    event_id: str | None = None
    since: datetime | None = None


def record_event(tx: Connection, event: Envelope, body: bytes) -> bool:
    """Keep the event and enqueue its job; False, and nothing done, when it is there already.

    Whoever delivers the same event at the same time waits for the first one's commit.
    """
    facts = read_facts(event)
    recorded = tx.execute(
        _RECORD,
        {
            "id": new_id(),
            "event_id": event.event_id,
            "type": event.type,
            "created": event.created,
            "customer_id": facts.customer_id if facts else None,
            "body": body,
        },
    ).scalar_one_or_none()
    if recorded is None:
        return False
    enqueue_events(tx, [recorded])
    return True


def enqueue_events(
    tx: Connection, event_ids: Sequence[UUID], *, parent_id: UUID | None = None
) -> None:
    """A job each. They are the product's own: whose the event is shows when it is applied."""
    jobs = [NewJob(job=PaymentApplyEvent(event_id=each)) for each in event_ids]
    enqueue_many(tx, SYSTEM_TENANT, jobs, parent_id=parent_id)


def replay_events(tx: Connection, choice: Choice, *, after: UUID | None = None) -> list[UUID]:
    """Have up to REPLAY_PAGE stored events applied once more, in the order in which they came.

    Returns their ids; the last one is where the next call goes on. Applying again changes nothing that
    was right, and sends no second mail. Raises NotFound for an event that isn't there.
    """
    ids = sorted(
        tx.execute(
            _AGAIN,
            {
                "tenant_id": choice.tenant_id,
                "event_id": choice.event_id,
                "since": choice.since,
                "after": after or UUID(int=0),
                "limit": REPLAY_PAGE,
            },
        ).scalars()
    )
    if choice.event_id is not None and not ids and after is None:
        raise NotFound(f"There is no payment event {choice.event_id!r}.")
    if ids:
        enqueue_events(tx, ids)
    return ids


def replay_all(tx: Connection, choice: Choice) -> int:
    """All of them, in this one transaction; how many. Raises NotFound as `replay_events`."""
    total, last = 0, replay_events(tx, choice)
    while last:
        total += len(last)
        if len(last) < REPLAY_PAGE:
            break
        last = replay_events(tx, choice, after=last[-1])
    return total


def page_of_events(
    tx: Connection, tenant_id: UUID, *, before: UUID | None, limit: int
) -> list[Row[Any]]:
    """The tenant's events, the last received first; without their bodies."""
    parameters = {"tenant_id": tenant_id, "before": before, "limit": limit}
    return list(tx.execute(_PAGE, parameters))
