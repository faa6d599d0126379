"""Any order of what may happen to jobs that wait and to jobs of a batch: every counter stays true, nothing
waits for what has ended, and a batch calls back once for each of its ends.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as walk
from sqlalchemy import Engine, text

from app.errors import Conflict, LostLease
from app.ledger.batches import Batch, add_to_batch, close_batch, open_batch
from app.ledger.burial import record_death
from app.ledger.cancel import cancel
from app.ledger.deadlines import expire_next
from app.ledger.enqueue import NewJob, enqueue
from app.ledger.outbox import mark_queued, take_due
from app.ledger.prerequisites import Otherwise
from app.ledger.replay import DeadFilter, replay
from app.ledger.rescue import drop_orphans, release_stalled
from app.ledger.spreading import cancel_batch
from app.ledger.state import Event
from app.ledger.store import Claimed, settle
from tests.support.customers import Customer
from tests.support.flows import ERROR, assert_honest, batch_of, members, tidy
from tests.support.housekeeping import TEST_CATALOG
from tests.support.jobs import (
    LazyNote,
    Note,
    add,
    assert_in_its_place,
    assert_lawful,
    backdate,
    claim_now,
)

ENDS = st.sampled_from([Event.SUCCEED, Event.SUCCEED, Event.RETRY, Event.DIE, Event.CANCEL])
WHICH = st.integers(0, 30)
TABLES = (
    "jobs, job_history, outbox, in_flight, deadlines, dead_letters, incidents, waiting, job_waits,"
    " batches, batch_shards, cancellations"
)


class Flows(RuleBasedStateMachine):
    """Two jobs, some that wait for them and for each other, and a batch with or without a window; every
    attempt that was ever begun may still try to settle.
    """

    engine: Engine
    tenant: Customer

    @initialize(
        otherwise=st.lists(st.sampled_from(Otherwise), min_size=4, max_size=4),
        window=st.sampled_from([None, 1, 2]),
        timed=st.booleans(),
    )
    def begin(self, otherwise: list[Otherwise], window: int | None, timed: bool) -> None:
        soon = datetime.now(tz=UTC) + timedelta(hours=1) if timed else None
        with self.engine.begin() as tx:
            tx.execute(text(f"TRUNCATE {TABLES}"))
            self.jobs = [enqueue(tx, self.tenant.id, Note()).id for _ in range(2)]
            for choice in otherwise:
                before = self.jobs[-2:]
                new = enqueue(
                    tx, self.tenant.id, Note(), after=before, otherwise=choice, deadline=soon
                )
                self.jobs.append(new.id)
            jobs = [NewJob(job=Note(), deadline=soon) for _ in range(3)]
            batch = Batch(jobs=jobs, window=window, on_completion=LazyNote())
            self.batch = open_batch(tx, self.tenant.id, batch)
        self.jobs += members(self.engine, self.batch)
        self.attempts: list[Claimed] = []
        self.ends, self.running, self.closed = 0, True, False

    @rule()
    def begin_all(self) -> None:
        with self.engine.begin() as tx:
            mark_queued(tx, [job.id for job in take_due(tx, batch=20)])
        for job_id in self.jobs:
            with self.engine.begin() as tx:
                job = claim_now(tx, job_id)
            self.attempts += [job] if job else []

    @rule(event=ENDS, which=WHICH)
    def end(self, event: Event, which: int) -> None:
        if not self.attempts:
            return
        job = self.attempts[which % len(self.attempts)]
        try:
            with self.engine.begin() as tx:
                settle(tx, job, event, error=ERROR)
                if event is Event.DIE:
                    record_death(tx, job.id, job.kind, ERROR)
        except LostLease:
            pass

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        try:
            with self.engine.begin() as tx:
                cancel(tx, {}, self.tenant.id, self.which(which), reason="enough")
        except Conflict:
            pass

    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        backdate(self.engine, self.which(which), seconds=4000)
        with self.engine.begin() as tx:
            expire_next(tx, {})

    @rule(which=WHICH)
    def replay(self, which: int) -> None:
        with self.engine.begin() as tx:
            chosen = DeadFilter(job_ids=[self.which(which)])
            replay(tx, TEST_CATALOG, {}, chosen, reason="again")

    @rule()
    def tidy(self) -> None:
        tidy(self.engine)
        with self.engine.begin() as tx:
            assert drop_orphans(tx, seconds=0) == []
            assert release_stalled(tx) == 0

    @precondition(lambda self: not self.closed)
    @rule(number=st.integers(1, 2))
    def add(self, number: int) -> None:
        with self.engine.begin() as tx:
            made = add_to_batch(tx, self.batch, [Note() for _ in range(number)])
        self.jobs += [one.id for one in made]

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        with self.engine.begin() as tx:
            close_batch(tx, self.batch)
        self.closed = True

    @precondition(lambda self: self.running and len(self.jobs) > 10)
    @rule()
    def cancel_batch(self) -> None:
        with self.engine.begin() as tx:
            cancel_batch(tx, self.tenant.id, self.batch, reason="enough")
        self.closed = True

    @invariant()
    def all_is_true(self) -> None:
        assert_honest(self.engine)
        assert_in_its_place(self.engine)
        assert_lawful(self.engine)
        facts = batch_of(self.engine, self.batch)
        self.ends += self.running and facts.state != "running"
        self.running = facts.state == "running"
        assert len(facts.callback_ids) == self.ends

    def which(self, number: int) -> UUID:
        return self.jobs[number % len(self.jobs)]


def test_any_walk_is_true(engine: Engine, tenant: Customer) -> None:
    add(engine, tenant.id, Note())

    def machine() -> Any:
        made = Flows()
        made.engine, made.tenant = engine, tenant
        return made

    walk(
        machine,  # type: ignore[arg-type]
        settings=examples(
            max_examples=6,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        ),
    )
