"""`ctx.once`: an effect elsewhere, once in a job's life, through retries, kills, zombies and replays."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ledger.contract import JobContract
from app.ledger.replay import DeadFilter, replay
from tests.support.customers import Customer
from tests.support.housekeeping import TEST_CATALOG
from tests.support.jobs import (
    LazyNote,
    Note,
    add_queued,
    claim_now,
    count,
    events,
    job_facts,
    letters,
    requeue,
)
from tests.support.runtime import Killed, Worker
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Done, Retry


class Provider:
    """The other side: it acts for each key once, and remembers every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answer: Any = {"id": 7}
        self.dies = False

    def __call__(self, key: str) -> object:
        self.calls.append(key)
        if self.dies:
            raise Killed
        return self.answer


@pytest.fixture
def provider() -> Provider:
    return Provider()


def replay_now(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[job_id]), reason="again")
    requeue(engine, job_id)


def test_a_known_result_is_not_asked_for_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    """Neither in the next attempt, nor after a replay."""
    results: list[object] = []

    def handler(ctx: Context, _: JobContract) -> Retry:
        results.append(ctx.once("charge", provider))
        return Retry("something after it failed")

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    for _ in range(2):
        worker.deliver(job_id)
        requeue(engine, job_id)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    replay_now(engine, job_id)
    worker.deliver(job_id)
    assert results == [{"id": 7}] * 4
    assert provider.calls == [f"{job_id}:charge"]


def test_each_name_and_each_job_is_an_effect_of_its_own(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        for name in ("a", "b", "a"):
            ctx.once(name, provider)
        return Done()

    worker.handle(Note, handler)
    jobs = [add_queued(engine, tenant.id, Note()) for _ in range(2)]
    for job_id in jobs:
        worker.deliver(job_id)
    assert provider.calls == [f"{job_id}:{name}" for job_id in jobs for name in ("a", "b")]


def test_after_a_crash_in_the_middle_the_call_is_made_again_with_the_same_key(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        ctx.once("charge", provider)
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    provider.dies = True
    with pytest.raises(Killed):
        worker.deliver(job_id)
    provider.dies = False
    worker.deliver(job_id, redelivered=True)
    assert provider.calls == [f"{job_id}:charge"] * 2
    assert job_facts(engine, job_id).state == "succeeded"


def test_the_result_is_kept_when_what_follows_is_rolled_back(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        with ctx.transaction() as tx:
            tx.execute(text("SELECT 1"))
            ctx.once("charge", provider)
            if ctx.job.attempt == 1:
                raise Killed
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    with pytest.raises(Killed):
        worker.deliver(job_id)
    worker.deliver(job_id, redelivered=True)
    assert len(provider.calls) == 1


class TestNotRepeatable:
    """The other side knows no keys: better never than twice, unless a person says so."""

    def once(self, worker: Worker, provider: Provider) -> None:
        def handler(ctx: Context, _: JobContract) -> Done:
            ctx.once("charge", provider, repeatable=False)
            return Done(then=[LazyNote()])

        worker.handle(Note, handler)

    def test_after_a_crash_in_the_middle_a_person_decides(
        self, worker: Worker, engine: Engine, tenant: Customer, provider: Provider
    ) -> None:
        self.once(worker, provider)
        job_id = add_queued(engine, tenant.id, Note())
        provider.dies = True
        with pytest.raises(Killed):
            worker.deliver(job_id)
        assert worker.deliver(job_id, redelivered=True) is Disposition.DEAD_LETTER
        (letter,) = letters(engine, job_id)
        assert (letter.code, len(provider.calls)) == ("effect_uncertain", 1)
        provider.dies = False
        replay_now(engine, job_id)
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert len(provider.calls) == 2
        assert job_facts(engine, job_id).state == "succeeded"

    def test_when_all_goes_well_it_acts_and_is_remembered(
        self, worker: Worker, engine: Engine, tenant: Customer, provider: Provider
    ) -> None:
        self.once(worker, provider)
        job_id = add_queued(engine, tenant.id, Note())
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        assert len(provider.calls) == 1

    def test_an_effect_that_is_done_stays_done_through_a_replay(
        self, worker: Worker, engine: Engine, tenant: Customer, provider: Provider
    ) -> None:
        def handler(ctx: Context, _: JobContract) -> Done:
            ctx.once("charge", provider, repeatable=False)
            raise RuntimeError("a fault behind it")

        worker.handle(Note, handler)
        job_id = add_queued(engine, tenant.id, Note())
        for _ in range(3):
            answer = worker.deliver(job_id)
            if answer is not Disposition.DEAD_LETTER:
                requeue(engine, job_id)
        replay_now(engine, job_id)
        worker.deliver(job_id)
        assert len(provider.calls) == 1
        assert events(engine, job_id)[-1] == "retry"


def test_an_attempt_that_lost_its_job_begins_nothing(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        with engine.begin() as other:
            assert claim_now(other, ctx.job.id, redelivered=True) is not None
        ctx.once("charge", provider)
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert provider.calls == []
    assert count(engine, "effects") == 0


def test_an_attempt_that_loses_its_job_during_the_call_still_records_the_result(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    """What happened has happened, and the next attempt must know."""
    calls: list[int] = []

    def handler(ctx: Context, _: JobContract) -> Done:
        def slow(_key: str) -> str:
            calls.append(ctx.job.attempt)
            if ctx.job.attempt == 1:
                with engine.begin() as other:
                    assert claim_now(other, ctx.job.id, redelivered=True) is not None
            return "paid"

        assert ctx.once("charge", slow) == "paid"
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "running"
    worker.deliver(job_id, redelivered=True)
    assert calls == [1]
    assert job_facts(engine, job_id).state == "succeeded"


AS_JSON = {
    None: None,
    "text": "text",
    1.5: 1.5,
    True: True,
    (1, (2,)): [1, [2]],
    "a\x00\ud800": "a\\x00\\ud800",
    2**70: 2**70,
}
NOT_JSON = (object(), {1, 2}, float("nan"), b"bytes")


def test_every_attempt_sees_the_result_as_json_holds_it(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    results: list[dict[int, object]] = []

    def handler(ctx: Context, _: JobContract) -> Retry:
        results.append({})
        for number, answer in enumerate(AS_JSON):
            provider.answer = answer
            results[-1][number] = ctx.once(f"ask-{number}", provider)
        provider.answer = {1: {"a": None}}
        results[-1][-1] = ctx.once("ask", provider)
        return Retry("again")

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    requeue(engine, job_id)
    worker.deliver(job_id)
    seen = {**dict(enumerate(AS_JSON.values())), -1: {"1": {"a": None}}}
    assert results == [seen, seen]
    assert len(provider.calls) == len(seen)


def test_a_result_that_json_cannot_hold_ends_the_job_before_it_acts_again(
    worker: Worker, engine: Engine, tenant: Customer, provider: Provider
) -> None:
    def handler(ctx: Context, _: JobContract) -> Done:
        ctx.once("ask", provider)
        return Done()

    worker.handle(Note, handler)
    for number, answer in enumerate(NOT_JSON, start=1):
        provider.answer = answer
        job_id = add_queued(engine, tenant.id, Note())
        assert worker.deliver(job_id) is Disposition.DEAD_LETTER
        assert letters(engine, job_id)[0].code == "effect_result"
        assert len(provider.calls) == number
