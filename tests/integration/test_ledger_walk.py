"""Any order of what may happen to jobs: each stays on the table's paths and is where it belongs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as walk
from sqlalchemy import Engine, text

from app.errors import Conflict, LostLease
from app.ledger import store
from app.ledger.burial import bury, record_death
from app.ledger.cancel import cancel, hasten
from app.ledger.collect import collect
from app.ledger.contract import JobContract
from app.ledger.deadlines import expire_next
from app.ledger.ending import stand_still
from app.ledger.enqueue import enqueue
from app.ledger.job_error import job_error
from app.ledger.outbox import mark_queued, postpone, take_due
from app.ledger.replay import DeadFilter, discard, replay
from app.ledger.rescue import drop_orphans, rescue_expired_leases, rescue_unheard
from app.ledger.state import FINISHED, TRANSITIONS, Event, State
from app.ledger.store import Claimed
from tests.support.customers import Customer
from tests.support.housekeeping import TEST_CATALOG, refused
from tests.support.jobs import (
    KEYED,
    KeyedNote,
    Note,
    OrderedNote,
    PairedNote,
    add,
    assert_in_its_place,
    assert_keys_are_kept,
    assert_lawful,
    assert_nobody_is_forgotten,
    backdate,
    claim_now,
    job_facts,
)

ERROR = job_error("test", "it is broken")
JOBS = 3
DEATHS = text("""
    SELECT state,
           (SELECT count(*) FROM job_history h
            WHERE h.job_id = jobs.id AND h.event IN ('die', 'bury', 'expire')) AS deaths,
           (SELECT count(*) FROM dead_letters d WHERE d.job_id = jobs.id) AS letters,
           (SELECT count(*) FROM dead_letters d
            WHERE d.job_id = jobs.id AND d.state <> 'replayed') AS current
    FROM jobs
""")
WHICH = st.integers(0, JOBS - 1)
SETTLE = st.sampled_from([Event.SUCCEED, Event.RETRY, Event.SNOOZE, Event.DIE, Event.CANCEL])


class Ledger(RuleBasedStateMachine):
    """Three jobs; every attempt that was ever begun may still try to settle, as zombies do."""

    engine: Engine
    tenant: Customer

    @initialize(timed=st.lists(st.booleans(), min_size=JOBS, max_size=JOBS))
    def begin(self, timed: list[bool]) -> None:
        with self.engine.begin() as tx:
            tx.execute(
                text(
                    "TRUNCATE jobs, job_history, outbox, in_flight, deadlines, dead_letters,"
                    " incidents, key_wakes, key_lines"
                )
            )
            soon = datetime.now(tz=UTC) + timedelta(hours=1)
            self.jobs = [
                enqueue(tx, self.tenant.id, self.a_job(), deadline=soon if one else None).id
                for one in timed
            ]
        self.attempts: list[Claimed] = []

    def a_job(self) -> JobContract:
        return Note()

    @rule()
    def dispatch(self) -> None:
        with self.engine.begin() as tx:
            mark_queued(tx, [job.id for job in take_due(tx, batch=10)])

    @rule()
    def let_in(self) -> None:
        """A round without room."""
        with self.engine.begin() as tx:
            assert take_due(tx, batch=10, rooms={}) == []

    @rule()
    def broker_refuses(self) -> None:
        with self.engine.begin() as tx:
            postpone(tx, [job.id for job in take_due(tx, batch=10)], seconds=0)

    @rule(which=WHICH, redelivered=st.booleans())
    def claim(self, which: int, redelivered: bool) -> None:
        with self.engine.begin() as tx:
            job = claim_now(tx, self.jobs[which], redelivered=redelivered)
        self.attempts += [job] if job else []

    @rule(event=SETTLE, which=st.integers(0, 50), delay=st.sampled_from([0, 600]))
    def settle(self, event: Event, which: int, delay: float) -> None:
        if not self.attempts:
            return
        job = self.attempts[which % len(self.attempts)]
        facts = job_facts(self.engine, job.id)
        mine = (facts.state, facts.attempt) == (State.RUNNING, job.attempt)
        try:
            with self.engine.begin() as tx:
                store.settle(tx, job, event, delay_seconds=delay, error=ERROR)
                if event is Event.DIE:
                    record_death(tx, job.id, job.kind, ERROR)
        except LostLease:
            assert not mine
        else:
            assert mine

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        state = self.state(which)
        try:
            with self.engine.begin() as tx:
                cancel(tx, {}, self.tenant.id, self.jobs[which], reason="enough")
        except Conflict:
            assert state in FINISHED
        else:
            assert self.state(which) is State.CANCELLED

    @rule(which=WHICH)
    def bury(self, which: int) -> None:
        sources = TRANSITIONS[Event.BURY].sources
        state = self.state(which)
        with self.engine.begin() as tx:
            buried = bury(tx, {}, self.jobs[which], Event.BURY, ERROR, sources=sources)
        assert buried == (state in sources)

    @rule(which=WHICH)
    def refuse(self, which: int) -> None:
        with self.engine.begin() as tx:
            collect(tx, TEST_CATALOG, {}, refused(self.jobs[which]))

    @rule(which=WHICH, seconds=st.sampled_from([40, 4000]))
    def time_passes(self, which: int, seconds: float) -> None:
        backdate(self.engine, self.jobs[which], seconds=seconds)

    @rule(empty=st.booleans())
    def tidy(self, empty: bool) -> None:
        with self.engine.begin() as tx:
            rescue_expired_leases(tx)
        with self.engine.begin() as tx:
            rescue_unheard(tx, "default", empty=empty, seconds=30)
        with self.engine.begin() as tx:
            expire_next(tx, {})
        with self.engine.begin() as tx:
            assert drop_orphans(tx, seconds=0) == []

    @rule(which=WHICH)
    def replay(self, which: int) -> None:
        state = self.state(which)
        with self.engine.begin() as tx:
            done = replay(tx, TEST_CATALOG, {}, self.only(which), reason="again")
        assert done.job_ids == ([self.jobs[which]] if state is State.DEAD else [])

    @rule(which=WHICH)
    def discard(self, which: int) -> None:
        with self.engine.begin() as tx:
            discard(tx, self.only(which), reason="no use")

    @rule(which=WHICH)
    def hasten(self, which: int) -> None:
        with self.engine.begin() as tx:
            job = stand_still(tx, self.jobs[which])
            if job is not None and job.state is State.SCHEDULED:
                hasten(tx, self.jobs[which])

    @invariant()
    def every_job_is_in_its_place(self) -> None:
        assert_in_its_place(self.engine)
        assert assert_lawful(self.engine) == JOBS

    @invariant()
    def every_death_has_its_letter(self) -> None:
        with self.engine.connect() as tx:
            for row in tx.execute(DEATHS):
                assert row.letters == row.deaths
                assert row.current == (row.state == State.DEAD)

    def state(self, which: int) -> State:
        return State(job_facts(self.engine, self.jobs[which]).state)

    def only(self, which: int) -> DeadFilter:
        chosen: list[UUID] = [self.jobs[which]]
        return DeadFilter(job_ids=chosen)


class KeyedLedger(Ledger):
    """The same with jobs that have one concurrency key."""

    kind: type[KeyedNote | PairedNote | OrderedNote]

    def a_job(self) -> JobContract:
        return self.kind(account="one")

    @rule()
    def look(self) -> None:
        self.let_in()
        assert_nobody_is_forgotten(self.engine)

    @invariant()
    def keys_are_kept(self) -> None:
        assert_keys_are_kept(self.engine)

    def teardown(self) -> None:
        self.look()


def test_any_walk_is_lawful(engine: Engine, tenant: Customer) -> None:
    add(engine, tenant.id, Note())

    def machine() -> Any:
        made = Ledger()
        made.engine, made.tenant = engine, tenant
        return made

    walk_about(machine)


@pytest.mark.parametrize("kind", KEYED)
def test_on_any_walk_keys_are_kept_and_nobody_is_forgotten(
    engine: Engine, tenant: Customer, kind: type[Any]
) -> None:
    def machine() -> Any:
        made = KeyedLedger()
        made.engine, made.tenant, made.kind = engine, tenant, kind
        return made

    walk_about(machine)


def walk_about(machine: Callable[[], Any]) -> None:
    """Ten walks of thirty steps."""

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
