"""What the clean-up forgets of payments and webhooks, and what it keeps."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.retention import KEPT
from app.upkeep.prune import Place, prune_some
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.payments import event, record, states, subscription
from tests.support.receiver import Receiver, receiving
from tests.support.runtime import Worker
from tests.support.webhooks import add_endpoint, deliveries, emit_plan


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def clean_up(engine: Engine) -> None:
    place = Place.of(None, KEPT)
    days = {one.what: 30 for one in KEPT}
    while place.step is not None:
        with engine.begin() as tx:
            place = prune_some(tx, KEPT, place, days).place


def test_events_that_were_dealt_with_go_and_others_stay(engine: Engine) -> None:
    kinds = ("applied", "waiting", "ignored", "refused", "received", "young")
    for kind in kinds:
        record(engine, event("customer.subscription.updated", subscription(), id=kind))
    with engine.begin() as tx:
        tx.execute(
            text("""
                UPDATE payment_events
                SET state = CASE event_id WHEN 'young' THEN 'applied' ELSE event_id END,
                    received_at = received_at - CASE event_id WHEN 'young' THEN interval '29 days'
                                                              ELSE interval '31 days' END
            """)
        )
    clean_up(engine)
    assert set(states(engine)) == {"received", "young"}


def test_an_event_that_nobody_has_applied_in_a_year_goes_too(engine: Engine) -> None:
    """Its job died, and was given up. It is nobody's: only its application says whose."""
    for kind in ("given_up", "late"):
        record(engine, event("customer.subscription.updated", subscription(), id=kind))
    with engine.begin() as tx:
        tx.execute(
            text("""
                UPDATE payment_events
                SET received_at = received_at - CASE event_id WHEN 'late' THEN interval '364 days'
                                                              ELSE interval '366 days' END
            """)
        )
    clean_up(engine)
    assert set(states(engine)) == {"late"}


def test_deliveries_go_with_their_attempts_and_an_event_with_its_last_delivery(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    for _ in range(3):
        emit_plan(engine, tenant.id)
    old, young, waits = deliveries(engine)
    ended = text("""
        UPDATE webhook_deliveries
        SET state = 'failed', finished_at = clock_timestamp() - make_interval(days => :days)
        WHERE id = :id
    """)
    attempt = text("""
        INSERT INTO webhook_attempts (id, tenant_id, delivery_id, number)
        SELECT gen_random_uuid(), tenant_id, id, 1 FROM webhook_deliveries
    """)
    with engine.begin() as tx:
        tx.execute(ended, [{"id": old.id, "days": 31}, {"id": young.id, "days": 29}])
        tx.execute(attempt)
        tx.execute(text("UPDATE webhook_events SET created_at = created_at - interval '60 days'"))
    clean_up(engine)
    assert [each.id for each in deliveries(engine)] == [young.id, waits.id]
    assert (count(engine, "webhook_events"), count(engine, "webhook_attempts")) == (2, 2)
