"""`ctx.lock`: two jobs never both hold it, and it ends with the attempt, however that ends."""

import random
import threading
from collections import Counter
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.errors import LockBusy, LostLease
from app.ledger import locks, store
from app.ledger.cancel import cancel
from app.ledger.contract import JobContract
from app.ledger.rescue import rescue_expired_leases
from app.ledger.state import Event
from app.ledger.store import Claimed
from app.retention import KEPT
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.housekeeping import in_thread, waits_for_lock
from tests.support.jobs import (
    LazyNote,
    Note,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    backdate,
    claim_now,
    count,
    events,
    job_facts,
    requeue,
    running,
)
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done

pytestmark = pytest.mark.long

NAME = "customer-7"


def lock(engine: Engine, job: Claimed, name: str = NAME) -> int:
    with engine.begin() as tx:
        return locks.acquire(tx, job, name, tenant_id=job.tenant_id)


def held(engine: Engine, job: Claimed) -> bool:
    """Whether somebody else keeps `job` from the lock."""
    try:
        lock(engine, job)
    except LockBusy:
        return True
    return False


@pytest.mark.parametrize(
    "event", [Event.SUCCEED, Event.RETRY, Event.SNOOZE, Event.DIE, Event.CANCEL]
)
def test_a_lock_is_held_until_the_attempt_ends_and_the_token_rises(
    engine: Engine, tenant: Customer, event: Event
) -> None:
    first, second = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
    token = lock(engine, first)
    with pytest.raises(LockBusy, match=str(first.id)):
        lock(engine, second)
    with engine.begin() as tx:
        store.settle(tx, first, event)
    assert lock(engine, second) > token


def test_the_same_attempt_may_ask_twice(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    assert lock(engine, job) == lock(engine, job)


def test_the_next_attempt_of_a_job_does_not_wait_for_its_own_past(
    engine: Engine, tenant: Customer
) -> None:
    first = running(engine, tenant.id, Note())
    token = lock(engine, first)
    with engine.begin() as tx:
        second = claim_now(tx, first.id, redelivered=True)
    assert second is not None
    assert lock(engine, second) > token
    with pytest.raises(LostLease):
        lock(engine, first)


def test_a_cancelled_holder_lets_go(engine: Engine, tenant: Customer) -> None:
    first, second = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
    lock(engine, first)
    with engine.begin() as tx:
        cancel(tx, {}, tenant.id, first.id, reason="enough")
    assert not held(engine, second)


def test_locks_of_other_names_and_other_tenants_are_other_locks(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    mine, theirs = running(engine, tenant.id, Note()), running(engine, stranger.id, Note())
    lock(engine, mine)
    lock(engine, theirs)
    lock(engine, running(engine, tenant.id, Note()), "customer-8")


class TestSilentHolder:
    def test_it_loses_the_lock_and_in_the_same_commit_its_job(
        self, engine: Engine, tenant: Customer
    ) -> None:
        silent, next_one = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
        token = lock(engine, silent)
        backdate(engine, silent.id, seconds=50)
        assert held(engine, next_one)
        backdate(engine, silent.id, seconds=11)
        assert lock(engine, next_one) > token
        with pytest.raises(LostLease), engine.begin() as tx:
            store.settle(tx, silent, Event.SUCCEED)
        assert job_facts(engine, silent.id).state == "scheduled"
        assert events(engine, silent.id)[-1] == "rescue"
        assert_in_its_place(engine)

    def test_an_eviction_that_is_rolled_back_leaves_all_as_it_was(
        self, engine: Engine, tenant: Customer
    ) -> None:
        silent, next_one = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
        token = lock(engine, silent)
        backdate(engine, silent.id, seconds=61)
        with engine.connect() as tx:
            locks.acquire(tx, next_one, NAME, tenant_id=tenant.id)
        assert job_facts(engine, silent.id).state == "running"
        assert lock(engine, silent) == token

    def test_it_is_left_alone_while_it_is_about_to_commit(
        self, engine: Engine, tenant: Customer
    ) -> None:
        """And whoever wants the lock does not wait for it with the lock in hand."""
        silent, next_one = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
        lock(engine, silent)
        backdate(engine, silent.id, seconds=61)
        with engine.begin() as handler:
            store.progress(handler, silent, done=1)
            assert held(engine, next_one)
            assert lock(engine, silent)
            store.settle(handler, silent, Event.SUCCEED)
        assert not held(engine, next_one)

    def test_a_rescued_holder_does_not_block_and_is_not_rescued_again(
        self, engine: Engine, tenant: Customer
    ) -> None:
        silent, next_one = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
        lock(engine, silent)
        backdate(engine, silent.id, seconds=61)
        with engine.begin() as tx:
            assert rescue_expired_leases(tx) == [silent.id]
        assert not held(engine, next_one)
        assert events(engine, silent.id).count("rescue") == 1


def age(engine: Engine) -> None:
    """All locks as if they had been taken two days ago."""
    with engine.begin() as tx:
        tx.execute(text("UPDATE locks SET acquired_at = acquired_at - interval '2 days'"))


def forget(tx: Connection) -> int:
    """What the clean-up does with locks; how many went."""
    (kept,) = (one for one in KEPT if one.what == "locks")
    return kept.step(tx, None, days=1, batch=100).removed


class TestForgotten:
    @pytest.fixture
    def token(self, engine: Engine, tenant: Customer) -> int:
        """That of a lock whose job ended two days ago."""
        job = running(engine, tenant.id, Note())
        token = lock(engine, job)
        with engine.begin() as tx:
            store.settle(tx, job, Event.SUCCEED)
        age(engine)
        return token

    def test_a_name_that_nobody_holds_and_its_tokens_rise_all_the_same(
        self, engine: Engine, tenant: Customer, token: int
    ) -> None:
        with engine.begin() as tx:
            assert forget(tx) == 1
        assert count(engine, "locks") == 0
        assert lock(engine, running(engine, tenant.id, Note())) > token

    def test_not_one_that_is_held_however_long(
        self, engine: Engine, tenant: Customer, token: int
    ) -> None:
        holder = running(engine, tenant.id, Note())
        assert lock(engine, holder) > token
        age(engine)
        with engine.begin() as tx:
            assert forget(tx) == 0
        assert held(engine, running(engine, tenant.id, Note()))

    def test_whoever_wants_it_meanwhile_has_it(
        self, engine: Engine, tenant: Customer, token: int
    ) -> None:
        job = running(engine, tenant.id, Note())
        taken: list[int] = []
        with engine.connect() as tx:
            assert forget(tx) == 1
            with in_thread(Thread(target=lambda: taken.append(lock(engine, job)))):
                wait_for(lambda: waits_for_lock(engine), what="the taker's wait")
                tx.commit()
        assert taken[0] > token
        assert held(engine, running(engine, tenant.id, Note()))


def test_of_two_that_ask_at_once_the_second_sees_the_first(
    engine: Engine, tenant: Customer
) -> None:
    first, second = running(engine, tenant.id, Note()), running(engine, tenant.id, Note())
    answers: list[bool] = []
    with engine.connect() as tx:
        locks.acquire(tx, first, NAME, tenant_id=tenant.id)
        with in_thread(Thread(target=lambda: answers.append(held(engine, second)))):
            wait_for(lambda: waits_for_lock(engine), what="the second's wait")
            tx.commit()
    assert answers == [True]


def test_a_job_that_finds_its_lock_taken_comes_back_soon_at_no_cost(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        with ctx.transaction() as tx:
            tx.execute(text("CREATE TABLE half_done (n int)"))
        ctx.lock(NAME)
        return Done()

    worker.handle(Note, handler)
    holder = running(engine, tenant.id, LazyNote())
    lock(engine, holder)
    job_id = add_queued(engine, tenant.id, Note())
    for tries in range(1, 6):
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        facts = job_facts(engine, job_id)
        assert (facts.state, facts.max_attempts - facts.attempt) == ("scheduled", 2 + 1)
        assert facts.attempt == tries
        assert facts.wait_seconds <= 1.0
        requeue(engine, job_id)
    with engine.begin() as tx:
        assert tx.execute(text("SELECT to_regclass('half_done')")).scalar_one() is None
        store.settle(tx, holder, Event.SUCCEED)
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "succeeded"
    assert_lawful(engine)


class Crowd:
    """Workers in threads, and jobs that add one to a number that they read a moment before."""

    THREADS = 4
    JOBS = 24
    MOST_SILENCES = Note.spec.retry.attempts - 1
    """Of one job: each may cost it an attempt, and one that has none left would be dead for good reason."""

    def __init__(self, engine: Engine, tenant: Customer, *, seed: int) -> None:
        self.engine = engine
        self.dice = random.Random(seed)  # noqa: S311 - no secret
        self.silences: Counter[UUID] = Counter()
        self.tokens: list[int] = []
        self.todo: list[UUID] = [add_queued(engine, tenant.id, Note()) for _ in range(self.JOBS)]
        self._mine = threading.Lock()
        with engine.begin() as tx:
            tx.execute(text("CREATE TABLE number AS SELECT 0 AS n"))

    def add_one(self, ctx: Context, _: JobContract) -> Done:
        token = ctx.lock(NAME)
        with ctx.transaction() as tx:
            read = tx.execute(text("SELECT n FROM number")).scalar_one()
            silent = self.dice.random() < 0.2 and self.silences[ctx.job.id] < self.MOST_SILENCES
            if silent:  # for longer than a lease, and then back
                self.silences[ctx.job.id] += 1
                backdate(self.engine, ctx.job.id, seconds=61)
                tx.execute(text("SELECT pg_sleep(0.03)"))
            tx.execute(text("SELECT pg_sleep(0.002)"))
            tx.execute(text("UPDATE number SET n = :n"), {"n": read + 1})
        self.tokens.append(token)
        return Done()

    def work(self, worker: Worker) -> None:
        while (job_id := self._next()) is not None:
            worker.deliver(job_id)
            if job_facts(self.engine, job_id).state != "succeeded":
                with self._mine:
                    self.todo.append(job_id)

    def _next(self) -> UUID | None:
        with self._mine:
            job_id = self.todo.pop(0) if self.todo else None
        if job_id is not None and job_facts(self.engine, job_id).state == "scheduled":
            requeue(self.engine, job_id)
        return job_id


@pytest.mark.parametrize("seed", [1, 2])
def test_no_two_that_both_commit_ever_hold_the_same_lock(
    engine: Engine,
    tenant: Customer,
    storage: Storage,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Some of them fall silent in the middle, are evicted, and try to commit all the same."""
    crowd = Crowd(engine, tenant, seed=seed)
    workers = [Worker(engine, storage, settings, monkeypatch) for _ in range(crowd.THREADS)]
    workers[0].handle(Note, crowd.add_one)
    threads = [Thread(target=crowd.work, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    with engine.connect() as tx:
        assert tx.execute(text("SELECT n FROM number")).scalar_one() == crowd.JOBS
        taken = tx.execute(text("SELECT token FROM locks")).scalar_one()
    assert len(set(crowd.tokens)) == len(crowd.tokens) <= taken
    assert assert_lawful(engine) == crowd.JOBS
