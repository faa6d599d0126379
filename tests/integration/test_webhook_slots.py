"""Endpoints that answer slowly hold few workers: other deliveries and other jobs go on beside them."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from queue import Empty, Queue
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.jobs import TrialsExpire
from app.webhooks import deliveries as log
from app.webhooks import endpoints, sending, slots
from app.webhooks.deliveries import redeliver
from tests.support.customers import Customer, make_customer
from tests.support.jobs import add, events, job_facts, requeue
from tests.support.receiver import Conversation, Receiver, answers, receiving
from tests.support.runtime import Worker
from tests.support.servers import Servers, wait_for
from tests.support.webhooks import (
    add_endpoint,
    attempts,
    deliveries,
    emit_plan,
    endpoint,
    run_due,
)
from workers import handlers  # noqa: F401 - they are registered by being imported

CHILDREN = 3


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(
        database, outbound_allowed_networks="127.0.0.0/8", s3_bucket=f"t-{database[-20:]}"
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


class Slow:
    """A manner: nothing is answered before the test says so."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.now = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, to: Conversation) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.release.wait(30)
        with self._lock:
            self.now -= 1
        answers(200, b"at last")(to)


def run_pool(worker: Worker, jobs: list[UUID]) -> list[threading.Thread]:
    """As a pool of so many children runs them, in their order."""
    waiting: Queue[UUID] = Queue()
    for job_id in jobs:
        requeue(worker.runtime.engine, job_id)
        waiting.put(job_id)

    def child() -> None:
        while True:
            try:
                job_id = waiting.get_nowait()
            except Empty:
                return
            worker.deliver(job_id)

    children = [threading.Thread(target=child) for _ in range(CHILDREN)]
    for each in children:
        each.start()
    return children


def learn(worker: Worker, engine: Engine, tenant_id: UUID, pace: float) -> None:
    """Have the newest endpoint of the tenant asked for the first time, and found quick, or slow."""
    emit_plan(engine, tenant_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "SLOW_SECONDS", pace)
        run_due(worker, engine)


def switch_off(engine: Engine) -> None:
    """All endpoints that there are: what happens now is not for them."""
    with engine.begin() as tx:
        tx.execute(text("UPDATE webhook_endpoints SET state = 'disabled', disabled_at = now()"))


def switch_on(engine: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("UPDATE webhook_endpoints SET state = 'enabled', disabled_at = NULL"))


def test_slow_endpoints_hold_one_child_and_everything_else_goes_on(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, receiver: Receiver
) -> None:
    slow = Slow()
    with receiving() as dragging:
        for customer in (tenant, stranger):
            add_endpoint(worker, customer.id, dragging)
            learn(worker, engine, customer.id, pace=-1.0)
        dragging.usual = slow
        known = {each.id for each in deliveries(engine)}
        for customer in (tenant, stranger):
            for _ in range(CHILDREN):
                emit_plan(engine, customer.id)
        held_up = [each.job_id for each in deliveries(engine) if each.id not in known]
        # Somebody else's: an endpoint that is quick, one that nobody knows yet, and another kind of job.
        other = make_customer(engine)
        add_endpoint(worker, other.id, receiver)
        learn(worker, engine, other.id, pace=99.0)
        known = {each.id for each in deliveries(engine)}
        for _ in range(4):
            emit_plan(engine, other.id)
        switch_off(engine)
        add_endpoint(worker, other.id, receiver)
        emit_plan(engine, other.id)
        switch_on(engine)
        others = [each.job_id for each in deliveries(engine) if each.id not in known]
        others.append(add(engine, tenant.id, TrialsExpire()))
        children = run_pool(worker, [*held_up, *others])
        try:
            wait_for(
                lambda: {job_facts(engine, each).state for each in others} == {"succeeded"},
                what="the other jobs to go on",
            )
            assert (slow.now, slow.most) == (1, 1), "one is under way"
            waiting = [each for each in held_up if events(engine, each)[-1] == "snooze"]
            assert len(waiting) == len(held_up) - 1
            for each in waiting:
                facts = job_facts(engine, each)
                assert facts.max_attempts - facts.attempt == 11, "no attempt was used up"
                assert facts.wait_seconds > 0
        finally:
            slow.release.set()
            for each in children:
                each.join(30)
        (first,) = set(held_up) - set(waiting)
        assert job_facts(engine, first).state == "succeeded"


def test_the_time_limit_is_short_at_first_and_after_time_outs(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sending, "SECONDS", 1.0)
    monkeypatch.setattr(sending, "HASTY_SECONDS", 0.2)
    monkeypatch.setattr(slots, "SLOW_SECONDS", 0.1)
    endpoint_id, _ = add_endpoint(worker, tenant.id, receiver)
    receiver.usual = slow = Slow()
    emit_plan(engine, tenant.id)
    waits = [job_facts(engine, run_due(worker, engine)).wait_seconds for _ in range(3)]
    unknown, full, hasty = (each.duration_ms for each in attempts(engine))
    assert unknown < 1000 <= full
    assert hasty < 1000
    row = endpoint(engine, endpoint_id)
    assert (row.pace, row.timeouts) == ("slow", 3)
    receiver.usual = answers(500)
    slow.release.set()
    monkeypatch.setattr(slots, "SLOW_SECONDS", 3.0)
    job_id = run_due(worker, engine)
    row = endpoint(engine, endpoint_id)
    assert (row.pace, row.timeouts) == ("quick", 0)
    with engine.connect() as tx:
        parcel = log.load_parcel(tx, tenant.id, deliveries(engine)[0].id)
    assert parcel is not None
    assert sending.time_limit(parcel, is_probe=False) == 1.0
    assert waits[0] < waits[1] < waits[2] < job_facts(engine, job_id).wait_seconds


def test_a_slot_is_free_again_when_its_worker_is_gone(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    """And a wait for one costs neither an attempt nor a step of the pauses."""
    add_endpoint(worker, tenant.id, receiver)
    learn(worker, engine, tenant.id, pace=99.0)
    settings = worker.runtime.settings.model_copy(update={"webhook_at_once": 1})
    for _ in range(2):
        emit_plan(engine, tenant.id)
    _, lost, waits = deliveries(engine)
    with engine.begin() as tx:  # as a worker leaves it that is killed in the middle
        log.begin_attempt(tx, lost.id)
    worker.runtime = replace(worker.runtime, settings=settings)
    for _ in range(3):
        run_due(worker, engine)
        assert events(engine, waits.job_id)[-1] == "snooze"
    assert 0.5 < job_facts(engine, waits.job_id).wait_seconds <= 1.5
    with engine.begin() as tx:
        redeliver(tx, tenant.id, lost.id)
    requeue(engine, deliveries(engine)[1].job_id)
    worker.deliver(deliveries(engine)[1].job_id)
    assert deliveries(engine)[1].state == "delivered", "its own lost attempt is not in its way"
    with engine.begin() as tx:
        tx.execute(text("UPDATE webhook_attempts SET at = at - interval '21 seconds'"))
    receiver.manners.append(answers(500))
    run_due(worker, engine)
    assert 3 < job_facts(engine, waits.job_id).wait_seconds < 7, "the first pause"
    run_due(worker, engine)
    assert deliveries(engine)[-1].state == "delivered"


def test_after_a_slow_answer_the_tenants_quick_endpoints_share_one_slot(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, receiver: Receiver
) -> None:
    slow_one, _ = add_endpoint(worker, tenant.id, receiver)
    learn(worker, engine, tenant.id, pace=-1.0)
    with engine.begin() as tx:
        endpoints.change(tx, tenant.id, slow_one, {"state": "disabled"})
    for customer in (stranger, tenant):
        add_endpoint(worker, customer.id, receiver)
        learn(worker, engine, customer.id, pace=99.0)
    with engine.begin() as tx:
        endpoints.change(tx, tenant.id, slow_one, {"state": "enabled"})
        tx.execute(
            text("UPDATE webhook_endpoints SET events = '[]' WHERE id = :id"), {"id": slow_one}
        )
    for customer, goes_on in ((tenant, False), (stranger, True)):
        emit_plan(engine, customer.id)
        with engine.begin() as tx:
            log.begin_attempt(tx, deliveries(engine)[-1].id)
        emit_plan(engine, customer.id)
        run_due(worker, engine)
        assert (deliveries(engine)[-1].state == "delivered") is goes_on


def test_slow_endpoints_of_one_tenant_have_one_slot_where_others_have_more(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, receiver: Receiver
) -> None:
    settings = worker.runtime.settings.model_copy(update={"webhook_slow_at_once": 3})
    worker.runtime = replace(worker.runtime, settings=settings)
    for customer in (tenant, stranger):
        add_endpoint(worker, customer.id, receiver)
        learn(worker, engine, customer.id, pace=-1.0)
    emit_plan(engine, tenant.id)
    with engine.begin() as tx:
        log.begin_attempt(tx, deliveries(engine)[-1].id)
    for customer, goes_on in ((tenant, False), (stranger, True)):
        emit_plan(engine, customer.id)
        run_due(worker, engine)
        assert (deliveries(engine)[-1].state == "delivered") is goes_on


@pytest.mark.parametrize(
    ("under_way", "waits", "goes_on"),
    [
        ("quick", "slow", True),
        ("unknown", "slow", False),
        ("slow", "unknown", False),
        ("slow", "slow", False),
        ("unknown", "unknown", False),
    ],
)
def test_a_tenants_slow_and_unknown_endpoints_have_one_slot_together(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    under_way: str, waits: str, goes_on: bool,
) -> None:  # fmt: skip
    """Where there is room for more, and nobody else is under way."""
    settings = worker.runtime.settings.model_copy(update={"webhook_slow_at_once": 3})
    worker.runtime = replace(worker.runtime, settings=settings)
    for pace, begins in ((under_way, True), (waits, False)):
        switch_off(engine)
        endpoint_id, _ = add_endpoint(worker, tenant.id, receiver)
        with engine.begin() as tx:
            change = text("UPDATE webhook_endpoints SET pace = :pace WHERE id = :id")
            tx.execute(change, {"pace": pace, "id": endpoint_id})
        emit_plan(engine, tenant.id)
        if begins:
            with engine.begin() as tx:
                log.begin_attempt(tx, deliveries(engine)[-1].id)
    waiting = deliveries(engine)[-1]
    requeue(engine, waiting.job_id)
    worker.deliver(waiting.job_id)
    assert (deliveries(engine)[-1].state == "delivered") is goes_on
