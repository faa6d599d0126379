"""What the broker gives up is kept: once, with its cause, and whatever it looks like."""

import json
from threading import Thread

import amqp
import pytest
from sqlalchemy import Engine

from app.broker.dead_letters import DeadLetterQueue, read
from app.broker.message import JobMessage
from app.broker.publisher import Publisher
from app.dispatcher import dispatch_batch
from app.errors import LostLease
from app.ids import new_id
from app.ledger import store
from app.ledger.cancel import cancel
from app.ledger.collect import MAX_RESCUES, Fate, collect
from app.ledger.state import Event
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.housekeeping import (
    RUBBISH,
    TEST_CATALOG,
    House,
    in_thread,
    refused,
    task,
    waits_for_lock,
)
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    claim_now,
    events,
    job_facts,
    letters,
    requeue,
    running,
)
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done

pytestmark = pytest.mark.long

STRAYS = [
    (RUBBISH, "undecodable", "test.note"),
    (amqp.Message("[]", application_headers={}), "undecodable", None),
    (task("", kind="test.note"), "undecodable", "test.note"),
    (task("", kind="other.app"), "unknown_kind", "other.app"),
    (task(new_id(), kind="other.app"), "unknown_kind", "other.app"),
    (task(new_id(), kind="test.note"), "no_such_job", "test.note"),
]


class TestJobs:
    """The message belongs to a job."""

    def test_a_dead_jobs_message_is_added_to_its_letter(
        self, house: House, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        worker.handle(Note, lambda _ctx, _job: Dead("no such customer", "gone"))
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        message = house.get()
        assert worker.deliver(job_id) is Disposition.DEAD_LETTER
        house.refuse(message)
        assert house.collector.step() is False
        (letter,) = letters(engine, job_id)
        assert letter.code == "gone"
        assert json.loads(letter.body)[1]["job_id"] == str(job_id)
        assert letter.headers["task"] == "test.note"
        (death,) = letter.x_death
        assert (death["queue"], death["reason"], death["count"]) == ("default", "rejected", 1)
        house.await_dead(0)

    def test_a_job_that_no_worker_knows_is_buried(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        house.refuse(house.get())
        house.collector.step()
        (letter,) = letters(engine, job_id)
        assert (letter.code, letter.queue, letter.attempt) == ("refused", "default", 0)
        assert (letter.incident_kind, letter.deaths, letter.state) == ("test.note", 1, "open")
        assert letter.x_death[0]["reason"] == "rejected"
        assert job_facts(engine, job_id).state == "dead"
        assert events(engine, job_id) == ["enqueue", "dispatch", "bury"]
        assert_in_its_place(engine)

    def test_a_poisonous_job_is_buried_when_the_broker_gives_up(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        """It takes its worker with it, again and again, while its attempts are not used up."""
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        with engine.begin() as tx:
            job = claim_now(tx, job_id)
        assert job is not None
        house.exhaust()
        house.collector.step()
        (letter,) = letters(engine, job_id)
        assert (letter.code, letter.attempt) == ("delivery_limit", 1)
        assert letter.x_death[0]["reason"] == "delivery_limit"
        with pytest.raises(LostLease), engine.begin() as tx:
            store.settle(tx, job, Event.SUCCEED)
        assert_in_its_place(engine)
        assert assert_lawful(engine) == 1

    def test_a_job_that_never_began_is_sent_again_a_few_times(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        """The database was away, and every worker gave the message back."""
        job_id = add(engine, tenant.id, Note())
        for _ in range(MAX_RESCUES):
            house.dispatch()
            house.exhaust()
            house.collector.step()
            assert job_facts(engine, job_id).state == "scheduled"
            assert letters(engine, job_id) == []
            assert_in_its_place(engine)
        house.dispatch()
        house.exhaust()
        house.collector.step()
        (letter,) = letters(engine, job_id)
        assert letter.code == "delivery_limit"
        assert events(engine, job_id) == [
            "enqueue",
            *(["dispatch", "rescue"] * MAX_RESCUES),
            "dispatch",
            "bury",
        ]
        assert assert_lawful(engine) == 1

    @pytest.mark.parametrize("ending", [None, Event.SUCCEED, Event.RETRY])
    def test_a_leftover_of_a_job_that_is_further_along_changes_nothing(
        self, house: House, engine: Engine, tenant: Customer, ending: Event | None
    ) -> None:
        job = running(engine, tenant.id, Note())
        if ending is not None:
            with engine.begin() as tx:
                store.settle(tx, job, ending)
        house.discard_as_foreign(task(job.id))
        before = (job_facts(engine, job.id).state, events(engine, job.id))
        house.collector.step()
        assert (job_facts(engine, job.id).state, events(engine, job.id)) == before
        assert letters(engine, job.id) == letters(engine) == []
        house.await_dead(0)

    def test_a_message_of_an_earlier_dispatch_does_not_bury_the_job(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        job = running(engine, tenant.id, Note())
        with engine.begin() as tx:
            store.settle(tx, job, Event.RETRY)
        requeue(engine, job.id)
        house.discard_as_foreign(task(job.id, attempt=1))
        house.collector.step()
        assert job_facts(engine, job.id).state == "queued"
        house.discard_as_foreign(task(job.id, attempt=2))
        house.collector.step()
        assert job_facts(engine, job.id).state == "dead"

    def test_a_refusal_that_is_faster_than_the_dispatchers_commit_still_counts(
        self, house: House, engine: Engine, tenant: Customer, settings: Settings
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        publisher = Publisher(settings)
        with engine.connect() as tx:
            assert dispatch_batch(tx, publisher, batch=10) == 1
            house.refuse(house.get())
            with in_thread(Thread(target=house.collector.step)):
                wait_for(lambda: waits_for_lock(engine), what="the collector's wait")
                tx.commit()
        publisher.close()
        assert job_facts(engine, job_id).state == "dead"
        assert len(letters(engine, job_id)) == 1

    def test_a_second_death_has_a_letter_of_its_own(self, engine: Engine, tenant: Customer) -> None:
        """Replayed, and refused again before any attempt began."""
        from app.ledger.replay import DeadFilter, replay

        job_id = add_queued(engine, tenant.id, Note())
        for number in (1, 2, 3):
            with engine.begin() as tx:
                fate = collect(tx, TEST_CATALOG, {}, refused(job_id))
            assert fate is Fate.BURIED
            assert [letter.state for letter in letters(engine, job_id)] == [
                *["replayed"] * (number - 1),
                "open",
            ]
            with engine.begin() as tx:
                chosen = DeadFilter(job_ids=[job_id])
                done = replay(tx, TEST_CATALOG, {}, chosen, reason="again")
            assert done.job_ids == [job_id]
            requeue(engine, job_id)
        assert letters(engine, job_id)[0].deaths == 3


class TestStrays:
    """The message belongs to no job."""

    def test_it_is_kept_with_what_is_wrong_with_it(self, house: House, engine: Engine) -> None:
        for message, _, _ in STRAYS:
            house.discard_as_foreign(message)
        house.collector.step()
        found = letters(engine)
        assert [(one.code, one.kind) for one in found] == [(code, kind) for _, code, kind in STRAYS]
        assert [one.incident_kind for one in found] == [kind for _, _, kind in STRAYS]
        for letter in found:
            assert (letter.queue, letter.tenant_id, letter.attempt) == ("default", None, None)
            assert letter.x_death[0]["reason"] == "rejected"
        house.await_dead(0)

    def test_bytes_that_are_no_text_are_kept_as_escapes(self, house: House, engine: Engine) -> None:
        house.discard_as_foreign(RUBBISH)
        house.collector.step()
        assert letters(engine)[0].body == "\\xff\\x00no task"

    def test_the_same_rubbish_sent_twice_is_two_letters(self, house: House, engine: Engine) -> None:
        for _ in range(3):
            house.discard_as_foreign(RUBBISH)
        house.collector.step()
        found = letters(engine)
        assert len(found) == 3
        assert {letter.deaths for letter in found} == {3}

    def test_also_when_two_collectors_have_one_each(self, house: House, engine: Engine) -> None:
        for _ in range(2):
            house.discard_as_foreign(RUBBISH)
        other = house.make_collector()
        fates: list[bool] = []

        with engine.connect() as tx:
            mine = house.get("dead")
            assert collect(tx, TEST_CATALOG, {}, read(mine)) is Fate.KEPT
            with in_thread(Thread(target=lambda: fates.append(other.step()))):
                wait_for(lambda: waits_for_lock(engine), what="the other's wait")
                tx.commit()
        other.close()
        assert fates == [False]
        assert len(letters(engine)) == 2


@pytest.mark.parametrize("known_job", [False, True])
def test_a_message_that_is_handed_out_twice_is_kept_once(
    house: House, engine: Engine, tenant: Customer, settings: Settings, known_job: bool
) -> None:
    """The collector dies between its commit and its acknowledgement."""
    job_id = add_queued(engine, tenant.id, Note())
    house.discard_as_foreign(task(job_id) if known_job else RUBBISH)
    dies = DeadLetterQueue(settings)
    message = dies.take()
    assert message is not None
    with engine.begin() as tx:
        collect(tx, TEST_CATALOG, {}, message)
    dies.close()
    house.await_dead(1)
    house.collector.step()
    house.await_dead(0)
    assert len(letters(engine, job_id)) + len(letters(engine)) == 1
    assert letters(engine, job_id if known_job else None)[0].deaths == 1


def test_a_cancelled_jobs_message_is_forgotten(
    house: House, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done())
    job_id = add(engine, tenant.id, Note())
    house.dispatch()
    with engine.begin() as tx:
        cancel(tx, {}, tenant.id, job_id, reason="changed my mind")
    house.refuse(house.get())
    house.collector.step()
    assert letters(engine, job_id) == letters(engine) == []
    assert job_facts(engine, job_id).state == "cancelled"


def test_messages_are_as_the_dispatcher_makes_them() -> None:
    """The collector reads what the product writes."""
    job_id = new_id()
    made = JobMessage(job_id=job_id, kind="test.note", version=1, attempt=3, queue="low").encode()
    made.delivery_info = {"delivery_tag": 1}
    found = read(made)
    assert (found.job_id, found.kind, found.attempt) == (job_id, "test.note", 3)
