"""A batch counts its jobs, keeps to its window, and ends once, in the commit that ends the last of them."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from app.errors import Conflict, NotFound
from app.ledger.batches import Batch, add_to_batch, close_batch, enqueue_batch, open_batch
from app.ledger.cancel import cancel
from app.ledger.deadlines import expire_next
from app.ledger.enqueue import NewJob
from app.ledger.prune import prune_batches, prune_jobs
from app.ledger.replay import DeadFilter, replay
from app.ledger.rescue import release_stalled
from app.ledger.state import Event
from app.ledger.store import Claimed, settle
from tests.support.customers import Customer
from tests.support.flows import assert_honest, batch_of, members, run, run_all, state, tidy
from tests.support.housekeeping import TEST_CATALOG, waits_for_lock
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    assert_in_its_place,
    assert_lawful,
    backdate,
    claim_now,
    job_facts,
    requeue,
)
from tests.support.servers import wait_for


def begin(engine: Engine, tenant: Customer, jobs: int, **facts: object) -> UUID:
    with engine.begin() as tx:
        batch = Batch(jobs=[Note(text=str(number)) for number in range(jobs)], **facts)  # type: ignore[arg-type]
        return enqueue_batch(tx, tenant.id, batch)


def kinds(engine: Engine, ids: list[UUID]) -> list[str]:
    with engine.connect() as tx:
        query = text("SELECT kind FROM jobs WHERE id = ANY(:ids) ORDER BY id")
        return list(tx.execute(query, {"ids": ids}).scalars())


def placed(engine: Engine, batch: UUID) -> list[UUID]:
    """Its jobs that may run now, in the order in which they were made."""
    with engine.connect() as tx:
        query = text("SELECT id FROM jobs WHERE batch_id = :id AND state = 'scheduled' ORDER BY id")
        return list(tx.execute(query, {"id": batch}).scalars())


def claim_all(engine: Engine, ids: list[UUID]) -> list[Claimed]:
    claimed = []
    for job_id in ids:
        requeue(engine, job_id)
        with engine.begin() as tx:
            job = claim_now(tx, job_id)
        assert job is not None
        claimed.append(job)
    return claimed


CALLBACKS = {
    "on_success": UrgentNote(),
    "on_failure": LazyNote(),
    "on_completion": Note(text="after all"),
}


def test_its_progress_is_counted_and_its_end_calls_back(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 5, name="five", **CALLBACKS)
    jobs = members(engine, batch)
    for number, job in enumerate(jobs[:-1], start=1):
        run(engine, job)
        facts = batch_of(engine, batch)
        assert (facts.total, facts.open, facts.succeeded) == (5, 5 - number, number)
        assert (facts.state, facts.callback_ids) == ("running", [])
    run(engine, jobs[-1])
    facts = batch_of(engine, batch)
    assert (facts.name, facts.state, facts.open) == ("five", "succeeded", 0)
    assert facts.finished_at is not None
    assert sorted(kinds(engine, facts.callback_ids)) == ["test.note", "test.urgent"]
    assert run_all(engine) == 2
    assert_honest(engine)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_the_end_is_in_the_commit_of_the_last_job(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 1, on_completion=LazyNote())
    (job,) = claim_all(engine, members(engine, batch))
    with engine.connect() as tx:
        settle(tx, job, Event.SUCCEED)
        tx.rollback()
    assert batch_of(engine, batch).state == "running"
    assert_honest(engine)
    with engine.begin() as tx:
        settle(tx, job, Event.SUCCEED)
    assert batch_of(engine, batch).state == "succeeded"


@pytest.mark.parametrize(
    ("ends", "becomes"),
    [
        ([Event.SUCCEED, Event.DIE, Event.CANCEL], "failed"),
        ([Event.SUCCEED, Event.CANCEL, Event.SUCCEED], "cancelled"),
    ],
)
def test_one_that_fails_makes_it_fail_when_all_have_ended(
    engine: Engine, tenant: Customer, ends: list[Event], becomes: str
) -> None:
    batch = begin(engine, tenant, 3, **CALLBACKS)
    for job, end in zip(members(engine, batch), ends, strict=True):
        assert batch_of(engine, batch).state == "running"
        run(engine, job, end)
    facts = batch_of(engine, batch)
    assert facts.state == becomes
    assert sorted(kinds(engine, facts.callback_ids)) == ["test.lazy", "test.note"]
    assert_honest(engine)


def test_a_replay_opens_it_again_and_its_next_end_calls_back_again(
    engine: Engine, tenant: Customer
) -> None:
    batch = begin(engine, tenant, 3, **CALLBACKS)
    jobs = members(engine, batch)
    for job in jobs:
        run(engine, job, Event.DIE if job == jobs[1] else Event.SUCCEED)
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[jobs[1]]), reason="again")
    facts = batch_of(engine, batch)
    assert (facts.state, facts.open, facts.dead, facts.finished_at) == ("running", 1, 0, None)
    assert_honest(engine)
    run(engine, jobs[1])
    facts = batch_of(engine, batch)
    assert (facts.state, facts.succeeded) == ("succeeded", 3)
    assert sorted(kinds(engine, facts.callback_ids)) == [
        "test.lazy",
        "test.note",
        "test.note",
        "test.urgent",
    ]


def test_it_doesnt_end_before_it_is_closed(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        batch = open_batch(tx, tenant.id, Batch(jobs=[Note()], on_completion=LazyNote()))
    run_all(engine)
    assert batch_of(engine, batch).state == "running"
    with engine.begin() as tx:
        add_to_batch(tx, batch, [Note(), NewJob(job=UrgentNote(), unique_key="one")])
        add_to_batch(tx, batch, [NewJob(job=UrgentNote(), unique_key="one")])
    assert batch_of(engine, batch).total == 3
    run_all(engine)
    with engine.begin() as tx:
        close_batch(tx, batch)
        close_batch(tx, batch)
    facts = batch_of(engine, batch)
    assert (facts.state, len(facts.callback_ids)) == ("succeeded", 1)
    assert_honest(engine)
    with pytest.raises(Conflict), engine.begin() as tx:
        add_to_batch(tx, batch, [Note()])
    with pytest.raises(NotFound), engine.begin() as tx:
        add_to_batch(tx, uuid4(), [Note()])
    assert_in_its_place(engine)


def test_one_of_its_own_jobs_may_add_to_a_closed_one(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 1)
    (job,) = claim_all(engine, members(engine, batch))
    with engine.begin() as tx:
        add_to_batch(tx, batch, [Note()], parent_id=job.id)
        settle(tx, job, Event.SUCCEED)
    assert batch_of(engine, batch).state == "running"
    run_all(engine)
    assert batch_of(engine, batch).state == "succeeded"


def test_one_without_jobs_ends_at_once(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 0, **CALLBACKS)
    facts = batch_of(engine, batch)
    assert (facts.state, len(facts.callback_ids)) == ("succeeded", 2)


@pytest.mark.parametrize("window", [1, 3, 40])
def test_a_window_is_kept_and_used(engine: Engine, tenant: Customer, window: int) -> None:
    batch = begin(engine, tenant, 50, window=window)
    for left in range(50, 0, -1):
        free = placed(engine, batch)
        assert len(free) == min(window, left)
        assert batch_of(engine, batch).crowded_out == left - len(free)
        run(engine, free[0], Event.DIE if left % 10 == 0 else Event.SUCCEED)
    assert batch_of(engine, batch).state == "failed"
    assert_honest(engine)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_a_job_in_a_window_keeps_its_place_over_a_retry(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 2, window=1)
    first, second = members(engine, batch)
    run(engine, first, Event.RETRY)
    assert [state(engine, job) for job in (first, second)] == ["scheduled", "waiting"]
    assert_honest(engine)


def test_one_that_waits_for_a_place_may_be_cancelled_or_expire(
    engine: Engine, tenant: Customer
) -> None:
    soon = datetime.now(tz=UTC) + timedelta(minutes=1)
    with engine.begin() as tx:
        late_one = NewJob(job=Note(), deadline=soon)
        jobs: list[Note | NewJob] = [Note(), Note(), late_one, Note()]
        batch = enqueue_batch(tx, tenant.id, Batch(jobs=jobs, window=1))
    first, cancelled, late, last = members(engine, batch)
    with engine.begin() as tx:
        cancel(tx, {}, tenant.id, cancelled, reason="enough")
    backdate(engine, late, seconds=120)
    with engine.begin() as tx:
        assert expire_next(tx, {})
    assert_honest(engine)
    run(engine, first)
    run(engine, last)
    facts = batch_of(engine, batch)
    assert (facts.succeeded, facts.dead, facts.cancelled, facts.state) == (2, 1, 1, "failed")
    assert_honest(engine)
    assert_in_its_place(engine)


def test_jobs_that_are_added_while_others_end_find_their_places(
    engine: Engine, tenant: Customer
) -> None:
    """The end meets the adding, and sees what that adds although it began before it."""
    with engine.begin() as tx:
        batch = open_batch(tx, tenant.id, Batch(jobs=[Note()], window=1))
    (job,) = claim_all(engine, members(engine, batch))

    def end() -> None:
        with engine.begin() as tx:
            settle(tx, job, Event.SUCCEED)

    with engine.begin() as tx:
        add_to_batch(tx, batch, [Note(), Note()])
        ending = threading.Thread(target=end)
        ending.start()
        wait_for(lambda: waits_for_lock(engine), what="the end to meet the adding")
    ending.join(10)
    assert sorted(state(engine, job) for job in members(engine, batch)) == [
        "scheduled",
        "succeeded",
        "waiting",
    ]
    assert_honest(engine)


def test_what_a_cancel_held_and_let_go_of_is_found(engine: Engine, tenant: Customer) -> None:
    batch = begin(engine, tenant, 2, window=1)
    first, second = members(engine, batch)
    with engine.connect() as holder:
        holder.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": second})
        run(engine, first)
        holder.rollback()
    assert state(engine, second) == "waiting"
    with engine.begin() as tx:
        assert release_stalled(tx) == 1
    assert state(engine, second) == "scheduled"
    assert_honest(engine)


@pytest.mark.parametrize("window", [None, 4])
def test_any_number_that_end_at_once_end_it_once(
    engine: Engine, tenant: Customer, window: int | None
) -> None:
    """Four threads, as fast as they can; some of what they do is rolled back."""
    for _ in range(3):
        batch = begin(engine, tenant, 40, window=window, on_completion=LazyNote())
        taking = threading.Lock()

        def take(batch: UUID = batch, taking: threading.Lock = taking) -> Claimed | None:
            with taking:
                free = placed(engine, batch)
                return claim_all(engine, free[:1])[0] if free else None

        def work(number: int, take: object = take) -> None:
            while (job := take()) is not None:  # type: ignore[operator]
                if int(job.payload["text"]) % 4 == number:
                    with engine.connect() as tx:
                        settle(tx, job, Event.SUCCEED)
                        tx.rollback()
                with engine.begin() as tx:
                    settle(tx, job, Event.SUCCEED)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        facts = batch_of(engine, batch)
        assert (facts.state, facts.succeeded, len(facts.callback_ids)) == ("succeeded", 40, 1)
    assert_honest(engine)
    assert_lawful(engine)
    assert_in_its_place(engine)


def test_a_window_and_waiting_for_others_dont_go_together(engine: Engine, tenant: Customer) -> None:
    crowded = Batch(jobs=[NewJob(job=Note(), after=[uuid4()])], window=2)
    with pytest.raises(ValueError, match="window"), engine.begin() as tx:
        enqueue_batch(tx, tenant.id, crowded)
    with pytest.raises(ValueError, match="window"):
        Batch(window=0)


def test_jobs_of_a_batch_may_wait_for_each_other(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        batch = open_batch(tx, tenant.id, Batch())
        (first,) = add_to_batch(tx, batch, [Note()])
        (second,) = add_to_batch(tx, batch, [NewJob(job=Note(), after=[first.id])])
        close_batch(tx, batch)
    run(engine, first.id, Event.DIE)
    assert_honest(engine)
    tidy(engine)
    assert state(engine, second.id) == "dead"
    assert batch_of(engine, batch).state == "failed"
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[first.id]), reason="again")
    assert_honest(engine)
    run_all(engine)
    assert batch_of(engine, batch).state == "succeeded"
    assert_honest(engine)


def _age(tx: Connection, days: int) -> None:
    for table in ("jobs", "batches"):
        tx.execute(
            text(
                f"UPDATE {table} SET finished_at = finished_at - make_interval(days => :days)"  # noqa: S608
            ),
            {"days": days},
        )


def test_it_is_forgotten_after_its_jobs(engine: Engine, tenant: Customer) -> None:
    """Ids are made now, so it is only pruned by a retention that lies in the future."""
    done, running = begin(engine, tenant, 2), begin(engine, tenant, 2)
    for job in members(engine, done):
        run(engine, job)
    with engine.begin() as tx:
        _age(tx, 40)
        assert prune_batches(tx, None, days=-2).removed == 0
        assert prune_jobs(tx, None, days=-2, batch=1).removed == 1
        assert prune_batches(tx, None, days=-2).removed == 0, "one of its jobs is left"
        assert prune_jobs(tx, None, days=-2).removed == 1
        assert prune_batches(tx, None, days=-2).removed == 1
        assert tx.execute(text("SELECT count(*) FROM batch_shards")).scalar_one() == 16
    assert batch_of(engine, running).open == 2
    assert job_facts(engine, members(engine, running)[0]).state == "scheduled"
