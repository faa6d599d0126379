"""`ctx.checkpoint`: what is committed on the way stays, and the next attempt goes on from there."""

from contextlib import suppress

from sqlalchemy import Engine, text

from app.errors import LostLease
from app.keys import create_tenant
from app.ledger.contract import JobContract
from app.ledger.replay import DeadFilter, replay
from tests.support.customers import Customer
from tests.support.housekeeping import TEST_CATALOG
from tests.support.jobs import Note, add_queued, claim_now, job_facts, requeue
from tests.support.runtime import Worker
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Dead, Done, Outcome


def step(ctx: Context, number: int) -> None:
    """One row, and where to go on."""
    with ctx.checkpoint({"next": number + 1}) as tx:
        create_tenant(tx, name=f"step-{number}", email="step@example.com")


def steps(engine: Engine) -> list[str]:
    with engine.connect() as tx:
        query = text("SELECT name FROM tenants WHERE name LIKE 'step-%' ORDER BY name")
        return list(tx.execute(query).scalars())


def next_step(ctx: Context) -> int:
    return 0 if ctx.saved is None else int(ctx.saved["next"])


def test_what_is_committed_stays_when_the_attempt_fails_and_is_not_done_again(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    began: list[int] = []

    def handler(ctx: Context, _: JobContract) -> Done:
        began.append(next_step(ctx))
        for number in range(next_step(ctx), 4):
            step(ctx, number)
            assert next_step(ctx) == number + 1
            if number == 1:
                with ctx.transaction() as tx:
                    create_tenant(tx, name="step-lost", email="step@example.com")
                raise RuntimeError("in the middle")
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    assert steps(engine) == ["step-0", "step-1"]
    requeue(engine, job_id)
    worker.deliver(job_id)
    assert began == [0, 2]
    assert steps(engine) == [f"step-{number}" for number in range(4)]
    assert job_facts(engine, job_id).state == "succeeded"


def test_a_zombies_checkpoint_keeps_nothing_whatever_the_handler_makes_of_it(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    saved: list[object] = []

    def handler(ctx: Context, _: JobContract) -> Done:
        saved.append(ctx.saved)
        if ctx.job.attempt == 1:
            with engine.begin() as other:
                assert claim_now(other, ctx.job.id, redelivered=True) is not None
            with suppress(LostLease):
                step(ctx, 0)
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert steps(engine) == []
    worker.deliver(job_id, redelivered=True)
    assert saved == [None, None]


def test_a_replay_goes_on_from_the_checkpoint(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    began: list[int] = []

    def handler(ctx: Context, _: JobContract) -> Outcome:
        began.append(next_step(ctx))
        if began == [0]:
            step(ctx, 0)
            return Dead("for now")
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    with engine.begin() as tx:
        replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[job_id]), reason="go on")
    requeue(engine, job_id)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert began == [0, 1]
    assert steps(engine) == ["step-0"]


def test_a_checkpoint_whose_block_fails_keeps_neither_rows_nor_place(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    saved: list[object] = []

    def handler(ctx: Context, _: JobContract) -> Done:
        saved.append(ctx.saved)
        with ctx.checkpoint({"next": 1}) as tx:
            create_tenant(tx, name="step-0", email="step@example.com")
            raise RuntimeError("inside")

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, Note())
    worker.deliver(job_id)
    requeue(engine, job_id)
    worker.deliver(job_id)
    assert saved == [None, None]
    assert steps(engine) == []
