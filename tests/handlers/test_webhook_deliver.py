"""Deliveries to a real receiver that misbehaves: signed, logged, tried again, given up, never twice by us."""

from collections.abc import Iterator
from typing import NoReturn
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from standardwebhooks import Webhook, WebhookVerificationError

from app.ledger.aftermath import Ending
from app.ledger.cancel import cancel
from app.ledger.state import State
from app.settings import Settings
from app.storage import Storage
from app.webhooks import endpoints
from app.webhooks.aftermath import deliver_ended
from app.webhooks.deliveries import Parcel, redeliver
from app.webhooks.emitting import emit
from tests.support.customers import Customer
from tests.support.jobs import add_queued, backdate, count, job_facts, requeue
from tests.support.receiver import (
    Manner,
    Receiver,
    answers,
    breaks_off,
    drips,
    floods,
    hangs_up,
    receiving,
)
from tests.support.runtime import Killed, Worker
from tests.support.servers import Servers
from tests.support.webhooks import (
    PLAN,
    add_endpoint,
    attempts,
    deliveries,
    emit_plan,
    run_due,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    return servers.environment(
        database, outbound_allowed_networks="127.0.0.0/8", s3_bucket=f"t-{database[-20:]}"
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_an_event_arrives_signed_and_is_done(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    _, secret = add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    job_id = run_due(worker, engine)
    (got,) = receiver.got
    (delivery,) = deliveries(engine)
    (attempt,) = attempts(engine)
    told = Webhook(secret).verify(got.body, dict(got.headers))
    assert (told["type"], told["data"]) == ("plan.changed", PLAN)
    assert got.headers["webhook-id"] == f"msg_{delivery.event_id.hex}"
    assert job_facts(engine, job_id).state == "succeeded"
    assert (delivery.state, delivery.attempts, delivery.finished_at is not None) == (
        "delivered",
        1,
        True,
    )
    assert (attempt.status, attempt.excerpt, attempt.error) == (200, "ok", None)
    assert attempt.duration_ms >= 0


def test_only_who_is_subscribed_is_told_and_only_with_the_commit(
    worker: Worker, engine: Engine, tenant: Customer, stranger: Customer, receiver: Receiver
) -> None:
    one, _ = add_endpoint(worker, tenant.id, receiver, "plan.changed", "import.finished")
    other, _ = add_endpoint(worker, tenant.id, receiver, "import.finished")
    off, _ = add_endpoint(worker, tenant.id, receiver)
    add_endpoint(worker, stranger.id, receiver)
    with engine.begin() as tx:
        endpoints.change(tx, tenant.id, off, {"state": "disabled"})
        emit(tx, tenant.id, "plan.changed", PLAN)
    assert [each.endpoint_id for each in deliveries(engine)] == [one]
    with engine.connect() as tx:
        emit(tx, tenant.id, "plan.changed", PLAN)
        tx.rollback()
        with pytest.raises(ValueError, match=r"no\.such"):
            emit(tx, tenant.id, "no.such", {})
        with pytest.raises(ValueError, match="plan"):
            emit(tx, tenant.id, "plan.changed", {"plan": "gold"})
    assert (count(engine, "webhook_events"), count(engine, "webhook_deliveries")) == (1, 1)
    assert other != one


def test_it_is_tried_again_with_the_same_id_a_fresh_time_and_the_same_body(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    _, secret = add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.manners.extend([answers(500, b"oops"), breaks_off_early])
    job_id = run_due(worker, engine)
    facts = job_facts(engine, job_id)
    assert facts.state == "scheduled"
    assert 3 < facts.wait_seconds < 7
    run_due(worker, engine)
    assert 20 < job_facts(engine, job_id).wait_seconds < 37
    run_due(worker, engine)
    assert job_facts(engine, job_id).state == "succeeded"
    first, second, third = receiver.got
    assert (
        first.headers["webhook-id"] == second.headers["webhook-id"] == third.headers["webhook-id"]
    )
    assert first.body == second.body == third.body
    for got in receiver.got:
        Webhook(secret).verify(got.body, dict(got.headers))
    log = [(each.number, each.status, each.excerpt, bool(each.error)) for each in attempts(engine)]
    assert log == [(1, 500, "oops", False), (2, None, None, True), (3, 200, "ok", False)]


breaks_off_early: Manner = hangs_up


@pytest.mark.parametrize(
    ("manner", "status", "excerpt"),
    [
        (floods(1024 * 1024), 200, "y" * 1024),
        (breaks_off, 200, "half"),
        (answers(204), 204, ""),
        (answers(200, b"\x00\xff"), 200, "\\x00\ufffd"),
    ],
    ids=["huge", "breaks off", "empty", "binary"],
)
def test_the_status_counts_whatever_becomes_of_the_body(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    manner: Manner, status: int, excerpt: str,
) -> None:  # fmt: skip
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.usual = manner
    run_due(worker, engine)
    assert deliveries(engine)[0].state == "delivered"
    (attempt,) = attempts(engine)
    assert (attempt.status, attempt.excerpt) == (status, excerpt)


def test_a_redirect_is_not_followed(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    with receiving() as inside:
        receiver.usual = answers(307, location=inside.url())
        job_id = run_due(worker, engine)
        assert inside.got == []
    assert job_facts(engine, job_id).state == "scheduled"
    assert attempts(engine)[0].status == 307


def test_an_address_that_is_not_open_any_more_gets_nothing(
    worker: Worker, engine: Engine, storage: Storage, settings: Settings, tenant: Customer,
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It was when it was registered: the check is made again at the connection."""
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    strict = settings.model_copy(update={"outbound_allowed_networks": ()})
    job_id = run_due(Worker(engine, storage, strict, monkeypatch), engine)
    assert receiver.got == []
    assert job_facts(engine, job_id).state == "scheduled"
    assert "private" in attempts(engine)[0].error


@pytest.mark.parametrize(
    ("status", "asked", "least", "most"),
    [(429, "90", 90, 91), (503, "3600", 3600, 3601), (503, "999999999999", 21600, 21601),
     (503, "soon", 3, 7), (500, "3600", 3, 7)],
)  # fmt: skip
def test_retry_after_is_honoured_within_reason(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    status: int, asked: str, least: int, most: int,
) -> None:  # fmt: skip
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.usual = answers(status, retry_after=asked)
    job_id = run_due(worker, engine)
    assert least - 1 < job_facts(engine, job_id).wait_seconds < most


def test_a_worker_that_dies_in_the_middle_is_in_the_log_and_it_is_sent_again(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from app.webhooks import sending

    send = sending.send

    def dies(settings: Settings, parcel: Parcel, *, seconds: float) -> NoReturn:
        send(settings, parcel, seconds=seconds)
        raise Killed

    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    (delivery,) = deliveries(engine)
    requeue(engine, delivery.job_id)
    with monkeypatch.context() as patch:
        patch.setattr(sending, "send", dies)
        with pytest.raises(Killed):
            worker.deliver(delivery.job_id)
    assert job_facts(engine, delivery.job_id).state == "running"
    backdate(engine, delivery.job_id, seconds=120)
    worker.deliver(delivery.job_id, redelivered=True)
    assert job_facts(engine, delivery.job_id).state == "succeeded"
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    log = [(each.number, each.status, each.error) for each in attempts(engine)]
    assert log == [(1, None, None), (2, 200, None)]


def test_a_message_that_comes_twice_is_sent_once(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    job_id = run_due(worker, engine)
    worker.deliver(job_id, redelivered=True)
    assert len(receiver.got) == 1


def test_both_secrets_sign_until_the_old_one_is_out_of_force(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    endpoint_id, old = add_endpoint(worker, tenant.id, receiver)
    with engine.begin() as tx:
        new = endpoints.rotate(tx, tenant.id, endpoint_id, worker.runtime.settings, keep_seconds=60)
    emit_plan(engine, tenant.id)
    run_due(worker, engine)
    got = receiver.got[-1]
    for secret in (old, new):
        Webhook(secret).verify(got.body, dict(got.headers))
    with engine.begin() as tx:
        tx.execute(text("UPDATE webhook_endpoints SET previous_secret_until = clock_timestamp()"))
        redeliver(tx, tenant.id, deliveries(engine)[-1].id)
    run_due(worker, engine)
    got = receiver.got[-1]
    Webhook(new).verify(got.body, dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(got.body, dict(got.headers))


def test_a_redelivery_takes_over_from_the_job_that_still_tries(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.manners.append(answers(500))
    former = run_due(worker, engine)
    with engine.begin() as tx:
        redeliver(tx, tenant.id, deliveries(engine)[-1].id)
    requeue(engine, former)
    worker.deliver(former)
    assert job_facts(engine, former).state == "cancelled"
    assert len(receiver.got) == 1
    run_due(worker, engine)
    assert len(receiver.got) == 2
    assert deliveries(engine)[-1].state == "delivered"


def test_a_cancelled_job_ends_its_delivery_and_no_other_run(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    (delivery,) = deliveries(engine)
    with engine.begin() as tx:
        cancel(tx, worker.aftermaths, tenant.id, delivery.job_id, reason="not needed")
    assert deliveries(engine)[0].state == "cancelled"
    with engine.begin() as tx:
        redeliver(tx, tenant.id, delivery.id)
        from app.jobs import WebhookDeliver

        error = {"code": "x", "message": "late"}
        former = WebhookDeliver(delivery_id=delivery.id)
        deliver_ended(tx, former, Ending(state=State.DEAD, error=error))
    assert deliveries(engine)[0].state == "pending"


def test_a_deleted_endpoint_gets_nothing(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver
) -> None:
    from app.jobs import WebhookDeliver

    endpoint_id, _ = add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    delivery_id: UUID = deliveries(engine)[0].id
    with engine.begin() as tx:
        endpoints.delete(tx, tenant.id, endpoint_id)
    job_id = add_queued(engine, tenant.id, WebhookDeliver(delivery_id=delivery_id))
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "cancelled"
    assert receiver.got == []


def test_a_slow_drip_ends_in_time(
    worker: Worker, engine: Engine, tenant: Customer, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from app.webhooks import sending

    monkeypatch.setattr(sending, "SECONDS", 1.5)
    add_endpoint(worker, tenant.id, receiver)
    emit_plan(engine, tenant.id)
    receiver.manners.extend([drips(b""), drips(HEAD + b"begin")])
    run_due(worker, engine)
    run_due(worker, engine)
    slow, late = attempts(engine)
    assert (slow.status, "in time" in slow.error) == (None, True)
    assert (late.status, late.excerpt[:5]) == (200, "begin")
    assert slow.duration_ms < 6000
