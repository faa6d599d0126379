"""A job that waits for others begins when the last of them has ended: in that commit, and once."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from app.errors import Conflict, LostLease, NotFound
from app.ledger.cancel import cancel
from app.ledger.deadlines import expire_next
from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from app.ledger.flows import Chain, FanIn, enqueue_flows
from app.ledger.prerequisites import Otherwise
from app.ledger.replay import DeadFilter, replay, retry_job
from app.ledger.state import Event
from app.ledger.store import settle
from tests.support.customers import Customer
from tests.support.flows import after, assert_honest, run, run_all, state, tidy
from tests.support.housekeeping import TEST_CATALOG, waits_for_lock
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    add,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    backdate,
    claim_now,
    events,
    job_facts,
    letters,
    running,
)
from tests.support.servers import wait_for


def test_it_is_released_by_the_end_of_the_last(engine: Engine, tenant: Customer) -> None:
    first, second = add(engine, tenant.id, Note()), add(engine, tenant.id, Note())
    job = after(engine, tenant.id, first, second)
    run(engine, first)
    assert state(engine, job) == "waiting"
    run(engine, second)
    facts = job_facts(engine, job)
    assert (facts.state, facts.outbox) == ("scheduled", True)
    assert facts.wait_seconds <= 0
    run(engine, job)
    assert events(engine, job) == ["wait", "release", "dispatch", "claim", "succeed"]
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_the_release_is_in_the_commit_of_the_end(engine: Engine, tenant: Customer) -> None:
    first = running(engine, tenant.id, Note())
    job = after(engine, tenant.id, first.id)
    with engine.connect() as tx:
        settle(tx, first, Event.SUCCEED)
        tx.rollback()
    assert state(engine, job) == "waiting"
    with engine.begin() as tx:
        settle(tx, first, Event.SUCCEED)
    assert state(engine, job) == "scheduled"


def test_a_zombie_releases_nothing(engine: Engine, tenant: Customer) -> None:
    zombie = running(engine, tenant.id, Note())
    job = after(engine, tenant.id, zombie.id)
    with engine.begin() as tx:
        assert claim_now(tx, zombie.id, redelivered=True)
    with pytest.raises(LostLease), engine.begin() as tx:
        settle(tx, zombie, Event.SUCCEED)
    assert state(engine, job) == "waiting"


def test_a_retry_is_no_end(engine: Engine, tenant: Customer) -> None:
    first = add(engine, tenant.id, Note())
    job = after(engine, tenant.id, first)
    run(engine, first, Event.RETRY)
    run(engine, first, Event.SNOOZE)
    assert state(engine, job) == "waiting"
    run(engine, first)
    assert state(engine, job) == "scheduled"


def test_one_that_waits_only_for_what_has_succeeded_begins_at_once(
    engine: Engine, tenant: Customer
) -> None:
    first = add(engine, tenant.id, Note())
    run(engine, first)
    job = after(engine, tenant.id, first)
    assert events(engine, job) == ["enqueue"]
    assert_in_its_place(engine)


def test_its_time_is_kept(engine: Engine, tenant: Customer) -> None:
    first = add(engine, tenant.id, Note())
    later = datetime.now(tz=UTC) + timedelta(hours=1)
    with engine.begin() as tx:
        job = enqueue(tx, tenant.id, Note(), run_at=later, after=[first]).id
    run(engine, first)
    assert job_facts(engine, job).wait_seconds > 3500


def test_another_tenants_job_cant_be_waited_for(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    theirs = add(engine, stranger.id, Note())
    for job_id in (theirs, uuid4()):
        with pytest.raises(NotFound), engine.begin() as tx:
            enqueue(tx, tenant.id, Note(), after=[job_id])


@pytest.mark.parametrize("end", ["die", "cancel"])
@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize(
    ("otherwise", "becomes"),
    [(Otherwise.DIE, "dead"), (Otherwise.CANCEL, "cancelled"), (Otherwise.RUN, "scheduled")],
)
def test_what_becomes_of_it_when_one_fails_is_its_own_choice(
    engine: Engine, tenant: Customer, end: str, otherwise: Otherwise, becomes: str, already: bool
) -> None:
    """Whether that one has failed `already` or fails later."""
    first = add(engine, tenant.id, Note())
    other = add(engine, tenant.id, Note())
    if already:
        run(engine, first, Event(end))
    job = after(engine, tenant.id, first, other, otherwise=otherwise)
    follower = after(engine, tenant.id, job)
    if not already:
        run(engine, first, Event(end))
    assert_honest(engine)
    if otherwise is Otherwise.RUN:
        run(engine, other)
    tidy(engine)
    assert state(engine, job) == becomes
    if becomes != "scheduled":
        error = job_facts(engine, job).error or {}
        assert error["code"] == "prerequisite_failed"
        assert str(first) in error["message"]
        assert state(engine, follower) == "dead"
        run(engine, other)
    assert len(letters(engine, job)) == (becomes == "dead")
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_a_replay_brings_back_what_waited_down_the_line(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        first, second, third = enqueue_flows(tx, tenant.id, [Chain([Note(), Note(), LazyNote()])])
    run(engine, first, Event.DIE)
    tidy(engine)
    assert [state(engine, job) for job in (second, third)] == ["dead", "dead"]
    with engine.begin() as tx:
        answer = replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[second]), reason="again")
    assert [str(first) in skipped.reason for skipped in answer.skipped] == [True]
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[first]), reason="again")
    assert [state(engine, job) for job in (second, third)] == ["waiting", "waiting"]
    assert [letter.state for letter in letters(engine, third)] == ["replayed"]
    assert_honest(engine)
    tidy(engine)
    assert run_all(engine) == 3
    assert state(engine, third) == "succeeded"
    assert events(engine, second)[:4] == ["wait", "give_up", "revive", "release"]
    assert_lawful(engine)


def test_it_stays_dead_until_all_that_failed_are_replayed(engine: Engine, tenant: Customer) -> None:
    one, two = add(engine, tenant.id, Note()), add(engine, tenant.id, Note())
    job = after(engine, tenant.id, one, two)
    run(engine, one, Event.DIE)
    tidy(engine)
    run(engine, two, Event.DIE)
    for failed, becomes in ((two, "dead"), (one, "waiting")):
        with engine.begin() as tx:
            replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[failed]), reason="again")
        assert state(engine, job) == becomes
        assert_honest(engine)
    run_all(engine)
    assert state(engine, job) == "succeeded"


def test_a_replay_in_time_saves_it(engine: Engine, tenant: Customer) -> None:
    """Before the dispatcher has ended what waits in vain."""
    first = add(engine, tenant.id, Note())
    job = after(engine, tenant.id, first)
    run(engine, first, Event.DIE)
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[first]), reason="again")
    tidy(engine)
    assert state(engine, job) == "waiting"
    assert_honest(engine)
    run_all(engine)
    assert state(engine, job) == "succeeded"


def test_it_can_be_cancelled_and_expire_but_not_be_hurried(
    engine: Engine, tenant: Customer
) -> None:
    first = add(engine, tenant.id, Note())
    cancelled = after(engine, tenant.id, first)
    with engine.begin() as tx:
        soon = datetime.now(tz=UTC) + timedelta(minutes=1)
        late = enqueue(tx, tenant.id, Note(), deadline=soon, after=[first]).id
    with pytest.raises(Conflict), engine.begin() as tx:
        retry_job(tx, TEST_CATALOG, {}, tenant.id, late, reason="now")
    backdate(engine, late, seconds=120)
    with engine.begin() as tx:
        cancel(tx, {}, tenant.id, cancelled, reason="enough")
    with engine.begin() as tx:
        assert expire_next(tx, {})
    assert [state(engine, job) for job in (cancelled, late)] == ["cancelled", "dead"]
    assert_in_its_place(engine)
    run(engine, first)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_a_fan_in_up_front(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        *side_by_side, last = enqueue_flows(
            tx, tenant.id, [FanIn([Note(), UrgentNote(), LazyNote()], then=Note(text="last"))]
        )
    for job in side_by_side:
        assert state(engine, last) == "waiting"
        run(engine, job)
    assert state(engine, last) == "scheduled"


def test_an_end_and_an_enqueue_that_meet_dont_miss_each_other(
    engine: Engine, tenant: Customer
) -> None:
    """The end waits for the enqueue, and sees it although it began before that committed."""
    first = running(engine, tenant.id, Note())

    def end() -> None:
        with engine.begin() as tx:
            settle(tx, first, Event.SUCCEED)

    with engine.begin() as tx:
        job = enqueue(tx, tenant.id, Note(), after=[first.id]).id
        ending = threading.Thread(target=end)
        ending.start()
        wait_for(lambda: waits_for_lock(engine), what="the end to meet the enqueue")
    ending.join(10)
    assert state(engine, job) == "scheduled"
    assert_in_its_place(engine)


def test_the_last_two_that_end_at_once_release_it_once(engine: Engine, tenant: Customer) -> None:
    """Round after round, with nothing between the two ends but the start of two threads."""
    for _ in range(15):
        pair = [running(engine, tenant.id, Note()) for _ in range(2)]
        job = after(engine, tenant.id, *(one.id for one in pair))
        barrier = threading.Barrier(2)

        def end(mine: object, barrier: threading.Barrier = barrier) -> None:
            with engine.begin() as tx:
                tx.execute(text("SELECT 1"))
                barrier.wait(10)
                settle(tx, mine, Event.SUCCEED)  # type: ignore[arg-type]

        threads = [threading.Thread(target=end, args=(one,)) for one in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert events(engine, job) == ["wait", "release"]
    assert_in_its_place(engine)


def test_a_diamond_is_walked_in_order(engine: Engine, tenant: Customer) -> None:
    top = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        left, right = enqueue_many(
            tx, tenant.id, [NewJob(job=Note(), after=[top]), NewJob(job=Note(), after=[top])]
        )
        bottom = enqueue(tx, tenant.id, Note(), after=[left.id, right.id]).id
    run(engine, top)
    assert state(engine, bottom) == "waiting"
    assert run_all(engine) == 3
    assert state(engine, bottom) == "succeeded"
    assert_lawful(engine)
