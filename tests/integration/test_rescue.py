"""Jobs that nobody brings any further are put back; and nothing happens twice because of it."""

import threading
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.errors import BrokerAway, LostLease
from app.housekeeping.timekeeper import Timekeeper
from app.ids import new_id
from app.ledger import store
from app.ledger.contract import JobContract
from app.ledger.outbox import mark_queued, take_due
from app.ledger.rescue import drop_orphans, rescue_expired_leases, rescue_unheard
from app.ledger.state import Event
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.housekeeping import House
from tests.support.jobs import (
    LazyNote,
    Note,
    add,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    backdate,
    children,
    claim_now,
    count,
    events,
    job_facts,
    letters,
    requeue,
    running,
)
from tests.support.runtime import Worker
from tests.support.servers import Servers
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done

SECONDS = 30.0


def unheard(engine: Engine, *, empty: bool, queue: str = "default") -> list[UUID]:
    with engine.begin() as tx:
        return rescue_unheard(tx, queue, empty=empty, seconds=SECONDS)


def expired(engine: Engine) -> list[UUID]:
    with engine.begin() as tx:
        return rescue_expired_leases(tx)


class TestExpiredLease:
    def test_the_job_runs_again_and_the_old_attempt_commits_nothing(
        self, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        first = running(engine, tenant.id, Note())
        backdate(engine, first.id, seconds=61)
        assert expired(engine) == [first.id]
        assert_in_its_place(engine)
        with pytest.raises(LostLease), engine.begin() as tx:
            store.settle(tx, first, Event.SUCCEED)
        worker.handle(Note, lambda _ctx, _job: Done(then=[LazyNote()]))
        requeue(engine, first.id)
        assert worker.deliver(first.id) is Disposition.ACKNOWLEDGE
        assert job_facts(engine, first.id).state == "succeeded"
        assert children(engine, first.id) == ["test.lazy"]
        assert events(engine, first.id)[2:] == ["claim", "rescue", "dispatch", "claim", "succeed"]
        assert assert_lawful(engine) == 2

    def test_it_does_not_go_to_the_end_of_its_tenant_s_line(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first = running(engine, tenant.id, Note())
        rest = [add(engine, tenant.id, Note()) for _ in range(3)]
        backdate(engine, first.id, seconds=61)
        assert expired(engine) == [first.id]
        with engine.begin() as tx:
            due = take_due(tx, batch=3)
        assert [job.id for job in due] == [first.id, *rest[:2]]

    def test_a_lease_that_runs_is_left_alone(self, engine: Engine, tenant: Customer) -> None:
        job = running(engine, tenant.id, Note())
        backdate(engine, job.id, seconds=50)
        assert expired(engine) == []
        assert job_facts(engine, job.id).state == "running"

    def test_a_job_whose_every_worker_vanishes_dies_with_one_letter(
        self, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        worker.handle(Note, lambda _ctx, _job: Done())
        job_id = add_queued(engine, tenant.id, Note())
        for _ in range(3):
            with engine.begin() as tx:
                assert claim_now(tx, job_id, lease_seconds=-1) is not None
            assert expired(engine) == [job_id]
            requeue(engine, job_id)
        assert worker.deliver(job_id) is Disposition.DEAD_LETTER
        (letter,) = letters(engine, job_id)
        assert (letter.code, letter.attempt) == ("worker_lost", 4)
        assert letter.first_failed_at < letter.last_failed_at
        assert_in_its_place(engine)


class TestLostMessage:
    """Against the real broker: the message is taken away from under the job."""

    def test_it_is_sent_again_once_the_time_is_over(
        self, house: House, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        assert house.queues.job_ids("default") == [str(job_id)]
        backdate(engine, job_id, seconds=SECONDS - 2)
        house.look_twice()
        assert job_facts(engine, job_id).state == "queued"
        backdate(engine, job_id, seconds=2.5)
        house.collector.step()
        assert job_facts(engine, job_id).state == "scheduled"
        assert_in_its_place(engine)
        house.dispatch()
        assert house.queues.job_ids("default") == [str(job_id)]
        worker.handle(Note, lambda _ctx, _job: Done())
        worker.deliver(job_id)
        assert events(engine, job_id)[1:] == ["dispatch", "rescue", "dispatch", "claim", "succeed"]

    def test_a_message_that_a_worker_has_just_taken_is_not_lost(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        """It waited for a worker for long; the queue is empty, and the claim is still to come."""
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        backdate(engine, job_id, seconds=3600)
        house.look_twice()
        house.get()
        house.collector.step()
        house.clock.forward(SECONDS - 1)
        house.collector.step()
        assert job_facts(engine, job_id).state == "queued"
        house.clock.forward(1)
        house.collector.step()
        assert job_facts(engine, job_id).state == "scheduled"

    def test_after_an_outage_the_broker_is_not_believed_at_once(
        self, house: House, engine: Engine, tenant: Customer, servers: Servers
    ) -> None:
        house.look_twice()
        lost = add_queued(engine, tenant.id, Note())
        backdate(engine, lost, seconds=SECONDS + 1)
        servers.rabbitmqctl("close_all_connections", "--vhost", "millrace", "for a test")
        with pytest.raises(BrokerAway):
            house.collector.step()
        house.collector.step()
        assert job_facts(engine, lost).state == "queued"
        house.look_twice()
        assert job_facts(engine, lost).state == "scheduled"

    def test_a_job_whose_message_is_ready_is_left_alone(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        backdate(engine, job_id, seconds=3600)
        house.look_twice()
        assert job_facts(engine, job_id).state == "queued"
        assert events(engine, job_id) == ["enqueue", "dispatch"]

    def test_each_queue_is_judged_by_its_own_messages(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        lost, fine = add(engine, tenant.id, LazyNote()), add(engine, tenant.id, Note())
        house.dispatch()
        assert house.queues.job_ids("low") == [str(lost)]
        for job_id in (lost, fine):
            backdate(engine, job_id, seconds=SECONDS + 1)
        house.look_twice()
        assert job_facts(engine, lost).state == "scheduled"
        assert job_facts(engine, fine).state == "queued"

    def test_a_rescue_that_was_not_needed_does_no_harm(
        self, house: House, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        """The first message was only slow: both come, in either order, and one does the work."""
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        backdate(engine, job_id, seconds=SECONDS + 1)
        assert unheard(engine, empty=True) == [job_id]
        worker.handle(Note, lambda _ctx, _job: Done(then=[LazyNote()]))
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE  # the slow one: nothing to claim
        assert job_facts(engine, job_id).state == "scheduled"
        house.dispatch()
        assert house.queues.job_ids("default") == [str(job_id)] * 2
        for redelivered in (False, False, True):
            assert worker.deliver(job_id, redelivered=redelivered) is Disposition.ACKNOWLEDGE
        assert children(engine, job_id) == ["test.lazy"]
        assert job_facts(engine, job_id).attempt == 1
        assert assert_lawful(engine) == 2


class TestOvertaken:
    """The broker has messages ready, but the queue is first in, first out."""

    @pytest.mark.parametrize(("behind", "rescued"), [(SECONDS + 5, True), (SECONDS - 5, False)])
    def test_a_job_is_lost_when_one_queued_well_after_it_runs(
        self, engine: Engine, tenant: Customer, behind: float, rescued: bool
    ) -> None:
        lost = add_queued(engine, tenant.id, Note())
        younger = running(engine, tenant.id, Note())
        for job_id in (lost, younger.id):
            backdate(engine, job_id, seconds=40)
        backdate(engine, lost, seconds=behind)
        assert unheard(engine, empty=False) == ([lost] if rescued else [])
        assert job_facts(engine, younger.id).state == "running"

    def test_what_runs_in_another_queue_overtakes_nobody(
        self, engine: Engine, tenant: Customer
    ) -> None:
        waiting = add_queued(engine, tenant.id, Note())
        backdate(engine, waiting, seconds=3600)
        running(engine, tenant.id, LazyNote())
        assert unheard(engine, empty=False) == []


class TestTogether:
    """Rescuers never wait, neither for each other nor for anybody else."""

    def test_of_two_rescuers_each_job_is_rescued_by_one(
        self, engine: Engine, tenant: Customer
    ) -> None:
        jobs = {add_queued(engine, tenant.id, Note()) for _ in range(40)}
        for job_id in jobs:
            backdate(engine, job_id, seconds=SECONDS + 1)
        together = threading.Barrier(4)
        rescued: list[UUID] = []

        def rescue() -> None:
            with engine.begin() as tx:
                together.wait(10)
                rescued.extend(rescue_unheard(tx, "default", empty=True, seconds=SECONDS, limit=15))

        threads = [threading.Thread(target=rescue) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        rescued += unheard(engine, empty=True)
        assert sorted(rescued) == sorted(jobs)
        assert_in_its_place(engine)
        assert assert_lawful(engine) == 40

    def test_a_row_that_somebody_holds_is_passed_over(
        self, engine: Engine, tenant: Customer
    ) -> None:
        silent, stuck = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
        lost = add_queued(engine, tenant.id, Note())
        for job_id in (silent.id, stuck.id, lost):
            backdate(engine, job_id, seconds=120)
        with engine.begin() as holder:
            holder.execute(
                text("SELECT FROM jobs WHERE id = ANY(:ids) FOR NO KEY UPDATE"),
                {"ids": [silent.id, lost]},
            )
            with engine.begin() as tx:
                tx.execute(text("SET LOCAL lock_timeout = '2s'"))
                assert rescue_expired_leases(tx) == [stuck.id]
                assert rescue_unheard(tx, "default", empty=True, seconds=SECONDS) == []
        assert expired(engine) == [silent.id]
        assert unheard(engine, empty=True) == [lost]

    def test_a_worker_that_beats_at_the_last_moment_keeps_its_job(
        self, engine: Engine, tenant: Customer
    ) -> None:
        """The rescuer's snapshot says silent, the row that it locks says alive."""
        job = running(engine, tenant.id, Note())
        backdate(engine, job.id, seconds=61)
        with engine.begin() as slow:
            slow.execute(text("SELECT pg_sleep(0)"))
            with engine.begin() as tx:
                assert store.heartbeat(tx, job, lease_seconds=60)
            assert rescue_expired_leases(slow) == []


class TestLeftovers:
    def test_rows_without_their_job_are_dropped_and_others_are_not(
        self, engine: Engine, tenant: Customer
    ) -> None:
        due, job = add(engine, tenant.id, LazyNote()), running(engine, tenant.id, Note())
        over = running(engine, tenant.id, Note())
        with engine.begin() as tx:
            store.settle(tx, over, Event.SUCCEED)
        backdate(engine, due, seconds=3600)
        strays = [new_id(), over.id, job.id]
        with engine.begin() as tx:
            for job_id in strays:
                tx.execute(
                    text("""
                        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
                        VALUES (:id, :tenant, 'low', now() - interval '2 minutes')
                    """),
                    {"id": job_id, "tenant": tenant.id},
                )
            for job_id in strays[:2]:
                tx.execute(
                    text("""
                        INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
                        VALUES (:id, :tenant, 'low', 'test.note', 1, now())
                    """),
                    {"id": job_id, "tenant": tenant.id},
                )
        with engine.begin() as tx:
            assert sorted(drop_orphans(tx, seconds=60)) == sorted([*strays, *strays[:2]])
        assert_in_its_place(engine)

    def test_one_row_too_many_in_flight_does_not_stop_the_dispatcher(
        self, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        with engine.begin() as tx:
            tx.execute(
                text("""
                    INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at)
                    VALUES (:id, :tenant, 'default', 'test.note', 1, now() - interval '1 hour')
                """),
                {"id": job_id, "tenant": tenant.id},
            )
        with engine.begin() as tx:
            mark_queued(tx, [job_id])
        assert_in_its_place(engine)
        assert unheard(engine, empty=True) == []


def test_the_timekeeper_rescues_expires_and_sweeps(
    engine: Engine, tenant: Customer, settings: Settings
) -> None:
    job = running(engine, tenant.id, Note())
    backdate(engine, job.id, seconds=61)
    orphan = add(engine, tenant.id, Note())
    backdate(engine, orphan, seconds=61)
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": orphan})
    timekeeper = Timekeeper(engine, {})
    assert timekeeper.step() is False
    assert job_facts(engine, job.id).state == "scheduled"
    assert count(engine, "outbox") == 1


def test_a_handler_that_outlives_its_lease_leaves_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """A worker that was stopped for a while: rescued meanwhile, it comes back and tries to commit."""

    def handler(ctx: Context, _: JobContract) -> Done:
        backdate(engine, ctx.job.id, seconds=61)
        assert expired(engine) == [ctx.job.id]
        return Done(then=[LazyNote()])

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert (job_facts(engine, job_id).state, children(engine, job_id)) == ("scheduled", [])
    assert_in_its_place(engine)
