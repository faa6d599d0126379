"""Payment events at the same time: one is kept, and none is left waiting for whom it has just missed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.payments.apply import apply_event
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.payments import (
    SECRET,
    apply_due,
    deliver,
    event,
    record,
    session,
    states,
    subscription,
    subscriptions,
)
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported

ROUNDS = 12


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(
        database, payment_webhook_secrets=SECRET, s3_bucket=f"t-{database[-20:]}"
    )


def at_once(*tasks: Callable[[], object]) -> list[object]:
    """Each in a thread of its own, all let go together."""
    start = Barrier(len(tasks))

    def run(task: Callable[[], object]) -> object:
        start.wait(20)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def test_of_deliveries_at_the_same_time_one_is_kept(web: Web, engine: Engine) -> None:
    told = event("customer.subscription.created", subscription())

    def send() -> bool:
        with web.client(None) as provider:
            answer = deliver(provider, told)
        assert answer.status_code == 200
        return bool(answer.json()["recorded"])

    assert sorted(at_once(*[send] * 6)) == [False] * 5 + [True]  # type: ignore[type-var]
    assert (count(engine, "payment_events"), count(engine, "jobs")) == (1, 1)


def test_whose_the_customer_is_comes_while_another_event_begins_to_wait(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    for n in range(ROUNDS):
        names = {"customer": f"cus_{n}", "subscription": f"sub_{n}"}
        shown = subscription(id=f"sub_{n}", customer=f"cus_{n}")
        record(engine, event("customer.subscription.updated", shown, id=f"evt_{n}a"))
        told = session(tenant.id, **names)
        record(engine, event("checkout.session.completed", told, id=f"evt_{n}b"))

        def apply(event_id: UUID) -> str:
            with engine.begin() as tx:
                return apply_event(tx, event_id, job_id=event_id)

        with engine.connect() as tx:
            query = text("SELECT id FROM payment_events WHERE customer_id = :id ORDER BY id")
            one, two = tx.execute(query, {"id": f"cus_{n}"}).scalars()
        at_once(partial(apply, one), partial(apply, two))
    apply_due(worker, engine)
    assert set(states(engine).values()) == {"applied"}
    assert {row.status for row in subscriptions(engine).values()} == {"active"}
    assert len(subscriptions(engine)) == ROUNDS
