"""Every death of a job leaves exactly one dead letter, in the commit of the death."""

from threading import Thread

import pytest
from sqlalchemy import Engine, text

from app.errors import LostLease
from app.ledger import store
from app.ledger.burial import bury, record_death
from app.ledger.job_error import job_error
from app.ledger.state import TRANSITIONS, Event
from tests.support.customers import Customer
from tests.support.housekeeping import in_thread, waits_for_lock
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_in_its_place,
    assert_lawful,
    claim_now,
    count,
    job_facts,
    letters,
    requeue,
    running,
)
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done, PermanentError, Retry

NASTY = "a\x00b\ud800"


def fail_with(error: Exception) -> Retry:
    raise error


DEATHS = [
    (Dead("no such customer", "gone"), "gone", "Dead"),
    (PermanentError("never", code="never_ever"), "never_ever", "PermanentError"),
    ("nonsense", "bad_outcome", "Bug"),
    (Dead(NASTY, NASTY), "a\\x00b\\ud800", "Dead"),
    (PermanentError(NASTY), "permanent_error", "PermanentError"),
]


def test_a_death_in_the_first_attempt(worker: Worker, engine: Engine, tenant: Customer) -> None:
    for answer, code, error_type in DEATHS:

        def handler(_ctx: Context, _job: object, ending: object = answer) -> object:
            if isinstance(ending, Exception):
                raise ending
            return ending

        worker.handle(Note, handler)
        job_id = add_queued(engine, tenant.id, Note())
        assert worker.deliver(job_id) is Disposition.DEAD_LETTER
        (letter,) = letters(engine, job_id)
        assert (letter.code, letter.error["type"]) == (code, error_type)
        assert (letter.kind, letter.queue, letter.attempt) == ("test.note", "default", 1)
        assert (letter.tenant_id, letter.state) == (tenant.id, "open")
        assert (letter.deaths, letter.incident_state) == (1, "open")
        assert letter.error == job_facts(engine, job_id).error
        assert_in_its_place(engine)


def test_attempts_used_up_have_one_letter_with_the_first_failure_and_the_last(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, lambda _ctx, _job: fail_with(RuntimeError(NASTY)))
    job_id = add_queued(engine, tenant.id, Note())
    for _ in range(2):
        worker.deliver(job_id)
        assert letters(engine, job_id) == []
        requeue(engine, job_id)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    (letter,) = letters(engine, job_id)
    assert (letter.code, letter.attempt) == ("exception", 3)
    assert letter.error["message"] == "a\\x00b\\ud800"
    assert "fail_with" in letter.error["traceback"]
    assert letter.error["frame"] == f"{__name__}:fail_with"
    with engine.connect() as tx:
        query = text("SELECT min(at), max(at) FROM job_history WHERE event IN ('retry', 'die')")
        first, last = tx.execute(query).one()
    assert letter.first_failed_at == first
    assert 0 <= (letter.last_failed_at - last).total_seconds() < 5


def test_the_history_before_a_replay_is_another_deaths(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    from app.ledger.replay import DeadFilter, replay
    from tests.support.housekeeping import TEST_CATALOG

    worker.handle(Note, lambda _ctx, _job: Dead("no"))
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[job_id]), reason="again")
    requeue(engine, job_id)
    worker.deliver(job_id)
    before, after = letters(engine, job_id)
    assert (before.state, after.state) == ("replayed", "open")
    assert after.first_failed_at > before.last_failed_at
    assert after.deaths == 2


UNREADABLE = {
    "version = 2": "wrong_version",
    "payload = '{\"text\": 5}'": "invalid_payload",
    "kind = 'test.unheard_of'": "unknown_kind",
    "attempt = 3": "worker_lost",
}


def test_a_job_that_cannot_even_begin(worker: Worker, engine: Engine, tenant: Customer) -> None:
    worker.handle(Note, lambda _ctx, _job: Done())
    for change, code in UNREADABLE.items():
        job_id = add_queued(engine, tenant.id, Note())
        with engine.begin() as tx:
            query = text(f"UPDATE jobs SET {change} WHERE id = :id")  # noqa: S608
            tx.execute(query, {"id": job_id})
        worker.deliver(job_id)
        assert [letter.code for letter in letters(engine, job_id)] == [code]


def test_an_exception_that_cannot_say_what_it_is_costs_an_attempt_and_no_more(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise ValueError

    worker.handle(Note, lambda _ctx, _job: fail_with(Speechless()))
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "scheduled"


def test_a_death_that_is_rolled_back_leaves_no_letter(engine: Engine, tenant: Customer) -> None:
    job = running(engine, tenant.id, Note())
    error = job_error("test", "no")
    with engine.connect() as tx:
        store.settle(tx, job, Event.DIE, error=error)
        record_death(tx, job.id, job.kind, error)
    assert count(engine, "dead_letters") == count(engine, "incidents") == 0
    with engine.begin() as tx:
        assert claim_now(tx, job.id, redelivered=True) is not None
    with pytest.raises(LostLease), engine.begin() as tx:
        store.settle(tx, job, Event.DIE, error=error)


class TestBury:
    """From outside, where somebody else may be at the job."""

    def test_what_is_in_no_such_state_is_left_alone(self, engine: Engine, tenant: Customer) -> None:
        job_id = add(engine, tenant.id, Note())
        with engine.begin() as tx:
            sources = TRANSITIONS[Event.BURY].sources
            assert not bury(tx, {}, job_id, Event.BURY, job_error("x", "y"), sources=sources)
        assert job_facts(engine, job_id).state == "scheduled"

    def test_a_burial_that_an_attempt_was_faster_than_changes_nothing(
        self, engine: Engine, tenant: Customer
    ) -> None:
        job = running(engine, tenant.id, Note())
        buried: list[bool] = []

        def late() -> None:
            with engine.begin() as tx:
                sources = TRANSITIONS[Event.BURY].sources
                error = job_error("x", "y")
                buried.append(bury(tx, {}, job.id, Event.BURY, error, sources=sources))

        with engine.connect() as worker:
            store.settle(worker, job, Event.SUCCEED)
            with in_thread(Thread(target=late)):
                wait_for(lambda: waits_for_lock(engine), what="the burial's wait")
                worker.commit()
        assert buried == [False]
        assert job_facts(engine, job.id).state == "succeeded"
        assert count(engine, "dead_letters") == count(engine, "incidents") == 0
        assert assert_lawful(engine) == 1
