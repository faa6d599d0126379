"""An endpoint's health: when it is left alone, given up or switched off, and what becomes of what waits."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from app.webhooks import endpoints
from app.webhooks.deliveries import redeliver
from tests.support.customers import Customer
from tests.support.jobs import events, job_facts, letters, requeue
from tests.support.receiver import Receiver, answers, receiving
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.webhooks import (
    add_endpoint,
    attempts,
    deliveries,
    emit_plan,
    endpoint,
    run_due,
)
from workers import handlers  # noqa: F401 - they are registered by being imported


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(
        database, outbound_allowed_networks="127.0.0.0/8", s3_bucket=f"t-{database[-20:]}"
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_gone_disables_the_endpoint_and_the_others_are_told(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    gone, _ = add_endpoint(worker, tenant.id, receiver, "plan.changed")
    emit_plan(engine, tenant.id)
    emit_plan(engine, tenant.id)
    other, _ = add_endpoint(worker, tenant.id, receiver, "webhook_endpoint.disabled")
    receiver.manners.append(answers(410))
    job_id = run_due(worker, engine)
    row = endpoint(engine, gone)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    assert job_facts(engine, job_id).state == "cancelled"
    first, second, told = deliveries(engine)
    assert (first.state, second.state, told.endpoint_id) == ("pending", "failed", other)
    requeue(engine, first.job_id)
    worker.deliver(first.job_id)
    assert deliveries(engine)[0].state == "cancelled"
    run_due(worker, engine)
    data = json.loads(receiver.got[-1].body)["data"]
    assert data == {"endpoint_id": str(gone), "url": receiver.url(), "reason": "gone"}
    assert len(receiver.got) == 2


def test_after_the_last_attempt_it_has_failed_and_is_no_dead_letter(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    endpoint_id, _ = add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.usual = answers(404)
    job_id = deliveries(engine)[0].job_id
    waited = 0.0
    for _ in range(job_facts(engine, job_id).max_attempts):
        assert job_facts(engine, job_id).state == "scheduled"
        run_due(worker, engine)
        facts = job_facts(engine, job_id)
        waited += facts.wait_seconds if facts.state == "scheduled" else 0
    assert timedelta(hours=18) < timedelta(seconds=waited) < timedelta(hours=29)
    assert job_facts(engine, job_id).state == "cancelled"
    (delivery,) = deliveries(engine)
    assert (delivery.state, delivery.attempts) == ("failed", 11)
    assert letters(engine, job_id) == []
    assert endpoint(engine, endpoint_id).failing_since is not None


def test_an_endpoint_that_fails_for_days_is_disabled(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    endpoint_id, _ = add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.manners.append(answers(500))
    run_due(worker, engine)
    assert endpoint(engine, endpoint_id).state == "enabled"
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE webhook_endpoints SET failing_since = failing_since - interval '6 days'")
        )
    receiver.manners.append(answers(500))
    run_due(worker, engine)
    row = endpoint(engine, endpoint_id)
    assert (row.state, row.disabled_reason) == ("disabled", "failing")
    with engine.begin() as tx:
        endpoints.change(tx, tenant.id, endpoint_id, {"state": "enabled"})
        redeliver(tx, tenant.id, deliveries(engine)[-1].id)
    run_due(worker, engine)
    row = endpoint(engine, endpoint_id)
    assert (row.state, row.failing_since, row.disabled_reason) == ("enabled", None, None)


def test_a_dead_endpoint_is_left_alone_and_that_costs_no_attempt(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    with receiving() as dead:
        endpoint_id, _ = add_endpoint(worker, tenant.id, dead)
    for _ in range(6):
        emit_plan(engine, tenant.id)
    jobs = [each.job_id for each in deliveries(engine)]
    for job_id in jobs:
        requeue(engine, job_id)
        worker.deliver(job_id)
    assert len(attempts(engine)) == 5, "the sixth found the breaker open"
    assert events(engine, jobs[-1])[-1] == "snooze"
    facts = job_facts(engine, jobs[-1])
    assert facts.max_attempts - facts.attempt == 11, "no attempt was used up"
    assert facts.wait_seconds > 5
    with engine.begin() as tx:
        tx.execute(text("UPDATE circuit_breakers SET retry_at = clock_timestamp()"))
        tx.execute(
            text("UPDATE webhook_endpoints SET url = :url WHERE id = :id"),
            {"url": receiver.url(), "id": endpoint_id},
        )
    requeue(engine, jobs[-1])
    worker.deliver(jobs[-1])
    assert job_facts(engine, jobs[-1]).state == "succeeded"
    requeue(engine, jobs[0])
    worker.deliver(jobs[0])
    assert len(receiver.got) == 2, "the probe closed it"


def test_what_waited_too_long_has_failed(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE webhook_deliveries SET opened_at = opened_at - interval '37 hours'")
        )
    run_due(worker, engine)
    assert receiver.got == []
    assert deliveries(engine)[0].state == "failed"
