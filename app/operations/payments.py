"""The payment provider's stored events."""

from uuid import UUID

from sqlalchemy import Connection

from app.operations.actor import Actor
from app.operations.audit import Thing, record
from app.payments.events import Choice, replay_events
from app.roles import Role


def replay(
    tx: Connection, actor: Actor, choice: Choice, *, after: UUID | None, reason: str
) -> list[UUID]:
    """Have the next of them applied again, those after the one `after`; safe to repeat. Empty when there are no
    more. Raises Forbidden, NotFound, Unprocessable.
    """
    actor.require(Role.OPERATOR)
    replayed: list[UUID] = replay_events(tx, choice, after=after)
    if replayed:
        thing = Thing(object="payment_event", id=choice.event_id or str(replayed[0]))
        facts = {"events": len(replayed)}
        record(tx, actor, "payment_event.replay", thing, reason=reason, facts=facts)
    return replayed
