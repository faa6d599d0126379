"""A cancel lasts: whatever the job was doing, it commits nothing more and never comes back."""

import threading
from collections.abc import Sequence
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.errors import Conflict, LostLease, NotFound
from app.keys import create_tenant
from app.ledger import store
from app.ledger.aftermath import Aftermath, Aftermaths, Ending
from app.ledger.cancel import cancel
from app.ledger.contract import JobContract
from app.ledger.outbox import mark_queued, take_due
from app.ledger.state import Event
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.dispatching import dispatching
from tests.support.housekeeping import House, in_thread, waits_for_lock
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    add,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    children,
    claim_now,
    count,
    events,
    job_facts,
    running,
)
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done


def cancel_now(
    engine: Engine, tenant: Customer, job_id: UUID, aftermaths: Aftermaths | None = None
) -> None:
    with engine.begin() as tx:
        cancel(tx, aftermaths or {}, tenant.id, job_id, reason="changed my mind")


def assert_cancelled(engine: Engine, job_id: UUID) -> None:
    facts = job_facts(engine, job_id)
    assert facts.state == "cancelled"
    assert facts.error == {"code": "cancelled", "message": "changed my mind"}
    assert events(engine, job_id)[-1] == "cancel"
    assert_in_its_place(engine)
    assert_lawful(engine)


@pytest.mark.parametrize("make", [add, add_queued, lambda *facts: running(*facts).id])
def test_a_job_that_has_not_ended_is_cancelled_for_good(
    worker: Worker, engine: Engine, tenant: Customer, make: Any
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done(then=[LazyNote()]))
    job_id: UUID = make(engine, tenant.id, Note())
    cancel_now(engine, tenant, job_id)
    for redelivered in (False, True):
        assert worker.deliver(job_id, redelivered=redelivered) is Disposition.ACKNOWLEDGE
    cancel_now(engine, tenant, job_id)
    assert_cancelled(engine, job_id)
    assert children(engine, job_id) == []


def test_what_has_ended_otherwise_cannot_be_cancelled(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    with engine.begin() as tx:
        store.settle(tx, job, Event.SUCCEED)
    with pytest.raises(Conflict, match="succeeded"):
        cancel_now(engine, tenant, job.id)


def test_nobody_cancels_another_tenants_job(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    job_id = add(engine, tenant.id, Note())
    with pytest.raises(NotFound):
        cancel_now(engine, stranger, job_id)
    assert job_facts(engine, job_id).state == "scheduled"


def test_a_running_handler_learns_of_it_soon_and_leaves_nothing(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    began, learned = threading.Event(), threading.Event()

    def handler(ctx: Context, _: JobContract) -> Done:
        with ctx.transaction() as tx:
            create_tenant(tx, name="effect", email="effect@example.com")
        began.set()

        def checked() -> bool:
            try:
                ctx.check()
            except LostLease:
                learned.set()
                raise
            return False

        wait_for(checked, what="the word of the cancel")
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    before = count(engine, "tenants")
    with in_thread(Thread(target=worker.deliver, args=(job_id,))):
        assert began.wait(10)
        cancel_now(engine, tenant, job_id)
        assert learned.wait(5), "the handler has not heard of it"
    assert count(engine, "tenants") == before
    assert_cancelled(engine, job_id)


class TestRaces:
    """Whoever waits for the job's row sees what its holder has made of it, all of it."""

    def test_a_cancel_during_the_publishing(self, engine: Engine, tenant: Customer) -> None:
        job_id = add(engine, tenant.id, Note())
        with engine.connect() as dispatcher:
            assert len(take_due(dispatcher, batch=10)) == 1
            mark_queued(dispatcher, [job_id])
            with in_thread(Thread(target=cancel_now, args=(engine, tenant, job_id))):
                wait_for(lambda: waits_for_lock(engine), what="the cancel's wait")
                dispatcher.commit()
        assert_cancelled(engine, job_id)

    def test_a_cancel_during_a_retry(self, engine: Engine, tenant: Customer) -> None:
        job = running(engine, tenant.id, Note())
        with engine.connect() as worker:
            store.settle(worker, job, Event.RETRY, delay_seconds=3600)
            with in_thread(Thread(target=cancel_now, args=(engine, tenant, job.id))):
                wait_for(lambda: waits_for_lock(engine), what="the cancel's wait")
                worker.commit()
        assert_cancelled(engine, job.id)

    def test_a_cancel_during_the_claim(self, engine: Engine, tenant: Customer) -> None:
        job_id = add_queued(engine, tenant.id, Note())
        with engine.connect() as worker:
            job = claim_now(worker, job_id)
            assert job is not None
            with in_thread(Thread(target=cancel_now, args=(engine, tenant, job_id))):
                wait_for(lambda: waits_for_lock(engine), what="the cancel's wait")
                worker.commit()
        with pytest.raises(LostLease), engine.begin() as tx:
            store.settle(tx, job, Event.SUCCEED)
        assert_cancelled(engine, job_id)

    def test_a_cancel_that_the_jobs_end_was_faster_than(
        self, engine: Engine, tenant: Customer
    ) -> None:
        """It is told so, and what it had begun to put right is as it was."""
        job = running(engine, tenant.id, Note())
        refused: list[Conflict] = []

        def ended(tx: Connection, _job: JobContract, _ending: Ending) -> Sequence[JobContract]:
            return [UrgentNote()]

        aftermaths = {
            "test.note": Aftermath(contract=Note, ended=ended, revived=lambda _tx, _job: ())
        }

        def late() -> None:
            with engine.begin() as tx:
                try:
                    cancel(tx, aftermaths, tenant.id, job.id, reason="too late")
                except Conflict as conflict:
                    refused.append(conflict)

        with engine.connect() as worker:
            store.settle(worker, job, Event.SUCCEED)
            with in_thread(Thread(target=late)):
                wait_for(lambda: waits_for_lock(engine), what="the cancel's wait")
                worker.commit()
        assert len(refused) == 1
        assert (job_facts(engine, job.id).state, children(engine, job.id)) == ("succeeded", [])

    def test_two_cancels_at_once_are_one(self, engine: Engine, tenant: Customer) -> None:
        job_id = add(engine, tenant.id, Note())
        with engine.connect() as first:
            cancel(first, {}, tenant.id, job_id, reason="changed my mind")
            with in_thread(Thread(target=cancel_now, args=(engine, tenant, job_id))):
                wait_for(lambda: waits_for_lock(engine), what="the second cancel's wait")
                first.commit()
        assert_cancelled(engine, job_id)
        assert events(engine, job_id).count("cancel") == 1

    def test_a_handler_that_holds_what_the_aftermath_needs_does_not_deadlock_with_it(
        self, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        """Both take the shared row first and the job's row last: one waits, and one of them wins."""
        with engine.begin() as tx:
            tx.execute(text("CREATE TABLE shared AS SELECT 'open' AS state"))
        holds = threading.Event()

        def ended(tx: Connection, _job: JobContract, ending: Ending) -> Sequence[JobContract]:
            tx.execute(text("UPDATE shared SET state = :state"), {"state": ending.state.value})
            return ()

        def handler(ctx: Context, _: JobContract) -> Done:
            with ctx.transaction() as tx:
                tx.execute(text("UPDATE shared SET state = 'done'"))
            holds.set()
            wait_for(lambda: waits_for_lock(engine), what="the cancel's wait")
            return Done()

        worker.handle(Note, handler, ended=ended)
        job_id = add_queued(engine, tenant.id, Note())
        with in_thread(Thread(target=worker.deliver, args=(job_id,))):
            assert holds.wait(10)
            with pytest.raises(Conflict):
                cancel_now(engine, tenant, job_id, worker.aftermaths)
        with engine.connect() as tx:
            assert tx.execute(text("SELECT state FROM shared")).scalar_one() == "done"
        assert job_facts(engine, job_id).state == "succeeded"


def test_neither_dispatchers_nor_rescues_bring_it_back(
    house: House, worker: Worker, engine: Engine, tenant: Customer, settings: Settings
) -> None:
    worker.handle(Note, lambda _ctx, _job: Done())
    waiting, published = add(engine, tenant.id, Note()), add(engine, tenant.id, LazyNote())
    house.dispatch()
    for job_id in (waiting, published):
        cancel_now(engine, tenant, job_id)
    marker = add(engine, tenant.id, UrgentNote())
    with dispatching(settings, engine):
        wait_for(lambda: job_facts(engine, marker).state == "queued", what="the dispatcher")
    house.collector.step()
    for job_id in (waiting, published):
        assert_cancelled(engine, job_id)
