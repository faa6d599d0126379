"""Work is in the ledger if and only if its caller's transaction commits, and once per unique key."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from app.ids import new_id
from app.jobs import ImportPlan
from app.ledger.enqueue import Enqueued, NewJob, enqueue, enqueue_many
from tests.support.customers import Customer
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    add,
    assert_lawful,
    count,
    events,
    job_facts,
)
from tests.support.servers import wait_for

LEDGER = ("jobs", "outbox", "job_history")


def test_a_rollback_leaves_no_job_no_outbox_row_and_no_history(
    engine: Engine, tenant: Customer
) -> None:
    with engine.connect() as tx:
        enqueue(tx, tenant.id, Note())
        tx.rollback()
    assert [count(engine, table) for table in LEDGER] == [0, 0, 0]


def test_a_commit_brings_all_three(engine: Engine, tenant: Customer) -> None:
    job_id = add(engine, tenant.id, Note(text="hello"))
    assert [count(engine, table) for table in LEDGER] == [1, 1, 1]
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.attempt, facts.max_attempts) == ("scheduled", 0, 3)
    assert facts.outbox
    assert facts.wait_seconds <= 0
    assert events(engine, job_id) == ["enqueue"]


def test_many_jobs_are_answered_in_their_order(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        first = enqueue(tx, tenant.id, Note(), unique_key="two")
        made = enqueue_many(
            tx,
            tenant.id,
            [
                NewJob(job=UrgentNote()),
                NewJob(job=Note(), unique_key="two"),
                NewJob(job=LazyNote()),
            ],
        )
    assert [one.created for one in made] == [True, False, True]
    assert made[1].id == first.id
    assert count(engine, "jobs") == count(engine, "outbox") == 3


def test_a_unique_key_is_unique_per_tenant_and_kind(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    with engine.begin() as tx:
        made = [
            enqueue(tx, tenant.id, Note(), unique_key="key"),
            enqueue(tx, tenant.id, UrgentNote(), unique_key="key"),
            enqueue(tx, stranger.id, Note(), unique_key="key"),
            enqueue(tx, tenant.id, Note(), unique_key="other"),
            enqueue(tx, tenant.id, Note()),
            enqueue(tx, tenant.id, Note()),
        ]
        again = enqueue(tx, tenant.id, Note(text="again"), unique_key="key")
    assert all(one.created for one in made)
    assert again == Enqueued(made[0].id, created=False)


def test_of_many_at_once_with_one_key_one_is_created_and_all_get_it(
    engine: Engine, tenant: Customer
) -> None:
    together = threading.Barrier(8)
    answers: list[Enqueued] = []

    def ask() -> None:
        with engine.begin() as tx:
            together.wait(10)
            answers.append(enqueue(tx, tenant.id, Note(), unique_key="same"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answer.created for answer in answers) == [False] * 7 + [True]
    assert len({answer.id for answer in answers}) == 1
    assert [count(engine, table) for table in LEDGER] == [1, 1, 1]


def test_a_key_is_free_again_when_its_holder_rolls_back(engine: Engine, tenant: Customer) -> None:
    answers: list[Enqueued] = []

    def ask() -> None:
        with engine.begin() as tx:
            answers.append(enqueue(tx, tenant.id, Note(), unique_key="same"))

    with engine.connect() as holder:
        first = enqueue(holder, tenant.id, Note(), unique_key="same")
        waiting = threading.Thread(target=ask)
        waiting.start()
        wait_for(lambda: _blocked(engine) == 1, what="the second enqueue's wait")
        holder.rollback()
    waiting.join(20)
    assert [answer.created for answer in answers] == [True]
    assert answers[0].id != first.id


def _blocked(engine: Engine) -> int:
    from sqlalchemy import text

    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with engine.connect() as tx:
        number: int = tx.execute(query).scalar_one()
        return number


@pytest.mark.parametrize(("minutes", "due"), [(-5, True), (5, False)])
def test_a_time_to_run_is_kept(engine: Engine, tenant: Customer, minutes: int, due: bool) -> None:
    at = datetime.now(tz=UTC) + timedelta(minutes=minutes)
    with engine.begin() as tx:
        job_id = enqueue(tx, tenant.id, Note(), run_at=at).id
    wait = job_facts(engine, job_id).wait_seconds
    assert (wait <= 0) is due
    assert wait == pytest.approx(minutes * 60, abs=30)


def test_the_payload_is_kept_as_the_contract_wrote_it(engine: Engine, tenant: Customer) -> None:
    from sqlalchemy import text

    import_id: UUID = new_id()
    job_id = add(engine, tenant.id, ImportPlan(import_id=import_id))
    with engine.connect() as tx:
        payload = tx.execute(
            text("SELECT payload FROM jobs WHERE id = :id"), {"id": job_id}
        ).scalar_one()
    assert ImportPlan.model_validate(payload) == ImportPlan(import_id=import_id)
    assert assert_lawful(engine) == 1
