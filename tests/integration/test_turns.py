"""Whose turn it is: every tenant's, whatever the others have in the backlog; and what operators decide."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ids import new_id
from app.ledger import store
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.outbox import DueJob, Round, mark_queued, take_due
from app.ledger.rescue import rescue_expired_leases, rescue_unheard
from app.ledger.rules import Scope, load_rules, pause, resume, set_limits
from app.ledger.state import Event
from tests.support.customers import Customer
from tests.support.jobs import (
    KeyedNote,
    LazyNote,
    Note,
    UrgentNote,
    add,
    assert_in_its_place,
    assert_lawful,
    backdate,
    claim_now,
    job_facts,
)


def backlog(engine: Engine, jobs: int, *, of: UUID | None = None, **more: object) -> UUID:
    """So many jobs of a tenant; which."""
    tenant_id = new_id() if of is None else of
    with engine.begin() as tx:
        enqueue_many(tx, tenant_id, [NewJob(job=Note(), **more) for _ in range(jobs)])  # type: ignore[arg-type]
    return tenant_id


def send(engine: Engine, this: Round | None = None, *, room: int = 500) -> list[DueJob]:
    """One round, as if the broker had taken all."""
    with engine.begin() as tx:
        rooms = dict.fromkeys(("high", "default", "low"), room)
        due = take_due(tx, batch=500, rooms=rooms, this=this)
        mark_queued(tx, [job.id for job in due])
        return due


def tenants(due: Sequence[DueJob]) -> list[UUID]:
    return [job.tenant_id for job in due]


class TestRoundRobin:
    def test_a_newcomer_is_in_the_next_round(self, engine: Engine) -> None:
        flood = backlog(engine, 300)
        send(engine, this := Round(), room=10)
        newcomer = backlog(engine, 1)
        assert Counter(tenants(send(engine, this, room=10)))[newcomer] == 1
        assert Counter(tenants(send(engine, this, room=10))) == {flood: 10}

    def test_all_have_the_same_share_and_a_window_of_one_goes_round(self, engine: Engine) -> None:
        three = {backlog(engine, 30) for _ in range(3)}
        assert Counter(tenants(send(engine, room=9))) == dict.fromkeys(three, 3)
        this = Round()
        turns = [tenants(send(engine, this, room=1)) for _ in range(9)]
        served = Counter(turn[0] for turn in turns if turn)
        assert set(served) == three
        assert max(served.values()) - min(served.values()) <= 1

    def test_jobs_of_a_round_are_sent_in_turns(self, engine: Engine) -> None:
        one, two = sorted(backlog(engine, 5) for _ in range(2))
        assert tenants(send(engine, room=6)) == [one, two] * 3

    def test_what_one_leaves_the_others_get(self, engine: Engine) -> None:
        small, large = backlog(engine, 2), backlog(engine, 100)
        this = Round()
        first = send(engine, this, room=20)
        assert Counter(tenants(first)) == {small: 2, large: 10}
        assert this.again
        assert Counter(tenants(send(engine, this, room=8))) == {large: 8}

    def test_another_dispatcher_s_jobs_are_passed(self, engine: Engine) -> None:
        ours = {backlog(engine, 3) for _ in range(4)}
        with engine.begin() as other:
            held = take_due(other, batch=4)
            assert set(tenants(held)) == ours
            due = send(engine, room=4)
            assert Counter(tenants(due)) == dict.fromkeys(ours, 1)
            assert not {job.id for job in due} & {job.id for job in held}

    def test_runs_of_jobs_where_many_share_a_large_room(self, engine: Engine) -> None:
        many = [backlog(engine, 6) for _ in range(100)]
        this, sent = Round(), Counter[UUID]()
        for _ in range(3):
            due = send(engine, this, room=192)
            sent.update(tenants(due))
            assert set(Counter(tenants(due)).values()) == {3}
            assert tenants(due)[:64] == tenants(due)[64:128]  # in turns, within the round too
        assert max(sent[one] for one in many) - min(sent[one] for one in many) <= 3
        assert sum(sent.values()) == 3 * 192

    def test_a_round_is_full_where_many_have_little(self, engine: Engine) -> None:
        for _ in range(450):
            backlog(engine, 1)
        this = Round()
        rounds = [len(send(engine, this, room=192)) for _ in range(4)]
        assert rounds == [64, 192, 192, 2]

    def test_the_rounds_end_when_nothing_is_left(self, engine: Engine) -> None:
        for _ in range(7):
            backlog(engine, 3)
        this, sent, rounds = Round(), 0, 0
        while True:
            sent += len(send(engine, this, room=2))
            rounds += 1
            if not this.again:
                break
        assert sent == 21
        assert rounds < 21

    def test_the_system_tenant_has_its_turn(self, engine: Engine) -> None:
        system = backlog(engine, 1, of=UUID(int=0))
        assert tenants(send(engine)) == [system]

    def test_weights(self, engine: Engine) -> None:
        light, heavy = backlog(engine, 40), backlog(engine, 40)
        with engine.begin() as tx:
            set_limits(tx, Scope.TENANT, str(heavy), max_running=None, weight=3)
        assert Counter(tenants(send(engine, room=20))) == {light: 5, heavy: 15}

    def test_weights_where_the_room_is_less_than_they_are(self, engine: Engine) -> None:
        light, heavy = backlog(engine, 10), backlog(engine, 40)
        with engine.begin() as tx:
            set_limits(tx, Scope.TENANT, str(heavy), max_running=None, weight=4)
        for room in (1, 2):
            this = Round()
            sent = Counter(
                job for _ in range(10 // room) for job in tenants(send(engine, this, room=room))
            )
            assert sent == {light: 2, heavy: 8}

    def test_what_a_heavy_one_leaves_is_for_those_that_had_nothing(self, engine: Engine) -> None:
        """At once, and not when somebody looks again."""
        heavy, light = sorted(new_id() for _ in range(2))
        backlog(engine, 1, of=heavy)
        backlog(engine, 9, of=light)
        with engine.begin() as tx:
            set_limits(tx, Scope.TENANT, str(heavy), max_running=None, weight=30)
        assert tenants(send(engine, this := Round(), room=4)) == [heavy]
        assert this.again
        assert tenants(send(engine, this, room=3)) == [light] * 3

    def test_weights_of_a_plan(self, engine: Engine, tenant: Customer) -> None:
        backlog(engine, 40, of=tenant.id)
        light = backlog(engine, 40)
        with engine.begin() as tx:
            set_limits(tx, Scope.PLAN, "active", max_running=None, weight=4)
        assert Counter(tenants(send(engine, room=10))) == {light: 2, tenant.id: 8}


class TestPriority:
    def test_lowest_first_then_the_longest_due(self, engine: Engine, tenant: Customer) -> None:
        past = datetime.now(tz=UTC) - timedelta(hours=1)
        with engine.begin() as tx:
            made = enqueue_many(
                tx,
                tenant.id,
                [
                    NewJob(job=Note(), priority=5, run_at=past),
                    NewJob(job=Note()),
                    NewJob(job=Note(), run_at=past),
                    NewJob(job=Note(), priority=-5),
                ],
            )
        idle, new, old, first = [one.id for one in made]
        assert [job.id for job in send(engine)] == [first, old, new, idle]

    def test_over_all_kinds_in_turns_of_one_job(self, engine: Engine, tenant: Customer) -> None:
        past = datetime.now(tz=UTC) - timedelta(hours=1)
        with engine.begin() as tx:
            made = enqueue_many(
                tx,
                tenant.id,
                [
                    NewJob(job=KeyedNote()),
                    NewJob(job=Note(), run_at=past),
                    NewJob(job=KeyedNote(), priority=-5),
                    NewJob(job=KeyedNote(), priority=5),
                    NewJob(job=Note(), priority=9),
                ],
            )
        new, old, first, _, last = [one.id for one in made]
        this = Round()
        assert [send(engine, this, room=1)[0].id for _ in range(3)] == [first, old, new]
        with engine.begin() as tx:
            pause(tx, Scope.KIND, KeyedNote.spec.kind, reason="for a test")
        assert [job.id for job in send(engine, this, room=1)] == [last]
        assert send(engine, this, room=1) == []

    def test_a_job_that_comes_back_keeps_its_priority(
        self, engine: Engine, tenant: Customer
    ) -> None:
        with engine.begin() as tx:
            later = datetime.now(tz=UTC) + timedelta(hours=1)
            new = NewJob(job=Note(), priority=-5, run_at=later)
            (delayed,) = enqueue_many(tx, tenant.id, [new])
        backlog(engine, 3, of=tenant.id)
        with engine.begin() as tx:
            tx.execute(text("UPDATE outbox SET run_at = clock_timestamp() WHERE NOT ready"))
        assert send(engine, room=1)[0].id == delayed.id


class TestPauses:
    def test_a_queue(self, engine: Engine, tenant: Customer) -> None:
        add(engine, tenant.id, Note())
        urgent = add(engine, tenant.id, UrgentNote())
        with engine.begin() as tx:
            pause(tx, Scope.QUEUE, "default", reason="for a test")
        this = Round()
        assert [job.id for job in send(engine, this)] == [urgent]
        assert send(engine, this) == []
        assert not this.again
        with engine.begin() as tx:
            resume(tx, Scope.QUEUE, "default")
            assert load_rules(tx).by_name == {}
        assert len(send(engine)) == 1
        assert assert_lawful(engine) == 2

    def test_a_tenant(self, engine: Engine) -> None:
        held, free = backlog(engine, 20), backlog(engine, 20)
        with engine.begin() as tx:
            pause(tx, Scope.TENANT, str(held), reason="for a test")
        this = Round()
        assert Counter(tenants(send(engine, this, room=1) + send(engine, this, room=9))) == {
            free: 10
        }

    def test_many_of_which_nothing_may_be_sent_do_not_stop_the_others(self, engine: Engine) -> None:
        """A window of one job isn't spent on each of them: so many are passed in a few rounds."""
        for _ in range(100):
            backlog(engine, 1)
        with engine.begin() as tx:
            pause(tx, Scope.KIND, Note.spec.kind, reason="for a test")
            free = enqueue_many(tx, new_id(), [NewJob(job=KeyedNote())])[0].id
        this = Round()
        rounds = [send(engine, this, room=1) for _ in range(5)]
        assert [job.id for due in rounds for job in due] == [free]

    def test_many_paused_tenants_do_not_stop_the_others(self, engine: Engine) -> None:
        held = [backlog(engine, 1) for _ in range(30)]
        free = backlog(engine, 1)
        with engine.begin() as tx:
            for tenant_id in held:
                pause(tx, Scope.TENANT, str(tenant_id), reason="for a test")
        assert tenants(send(engine, room=1)) == [free]

    def test_a_kind_and_the_tenant_s_other_kinds_go_on(
        self, engine: Engine, tenant: Customer
    ) -> None:
        for _ in range(5):
            add(engine, tenant.id, LazyNote())
            add(engine, tenant.id, Note())
        with engine.begin() as tx:
            pause(tx, Scope.KIND, Note.spec.kind, reason="for a test")
        this = Round()
        assert {job.kind for job in send(engine, this)} == {LazyNote.spec.kind}
        assert send(engine, this) == []
        with engine.begin() as tx:
            resume(tx, Scope.KIND, Note.spec.kind)
        assert len(send(engine, this)) == 5

    @pytest.mark.parametrize("scope", [Scope.QUEUE, Scope.KIND, Scope.TENANT])
    def test_what_was_sent_and_comes_back_waits_and_all_runs_after(
        self, engine: Engine, tenant: Customer, scope: Scope
    ) -> None:
        """However long it lasts: a worker is lost, a message is, an attempt fails, and one has yet to be claimed."""
        orphan, lost, failed, late, waiting = (add(engine, tenant.id, Note()) for _ in range(5))
        send(engine, room=4)
        with engine.begin() as tx:
            assert claim_now(tx, orphan) is not None
            running = claim_now(tx, failed)
            name = {Scope.QUEUE: "default", Scope.KIND: Note.spec.kind}.get(scope, str(tenant.id))
            pause(tx, scope, name, reason="for a test")
        assert running is not None
        with engine.begin() as tx:
            store.settle(tx, running, Event.RETRY)
        for job in (orphan, lost):
            backdate(engine, job, seconds=3600)
        with engine.begin() as tx:
            assert rescue_expired_leases(tx) == [orphan]
            assert rescue_unheard(tx, "default", empty=True, seconds=60) == [lost]
        this = Round()
        assert send(engine, this) + send(engine, this) == []
        assert not this.again
        with engine.begin() as tx:
            assert claim_now(tx, late) is not None
            resume(tx, scope, name)
        assert {job.id for job in send(engine, this)} == {orphan, lost, failed, waiting}
        attempts = [job_facts(engine, job).attempt for job in (orphan, lost, failed, late, waiting)]
        assert attempts == [1, 0, 1, 1, 0]
        assert assert_lawful(engine) == 5
        assert_in_its_place(engine)


class TestLimits:
    def test_of_a_tenant(self, engine: Engine) -> None:
        limited, free = backlog(engine, 20), backlog(engine, 20)
        with engine.begin() as tx:
            set_limits(tx, Scope.TENANT, str(limited), max_running=3, weight=None)
        this = Round()
        assert Counter(tenants(send(engine, this, room=10))) == {limited: 3, free: 5}
        assert this.curbed
        assert Counter(tenants(send(engine, this, room=10))) == {free: 10}
        with engine.begin() as tx:
            tx.execute(
                text(
                    "DELETE FROM in_flight WHERE tenant_id = :id AND ctid IN ("
                    "SELECT ctid FROM in_flight WHERE tenant_id = :id LIMIT 2)"
                ),
                {"id": limited},
            )
        assert Counter(tenants(send(engine, this, room=10)))[limited] == 2

    def test_of_a_kind_over_all_tenants(self, engine: Engine) -> None:
        for _ in range(4):
            backlog(engine, 10)
        with engine.begin() as tx:
            set_limits(tx, Scope.KIND, Note.spec.kind, max_running=6, weight=None)
        first = send(engine, this := Round())
        assert len(first) == 6
        assert len(set(tenants(first))) == 4
        assert send(engine, this) == []
        assert this.curbed

    def test_of_a_kind_of_which_none_has_to_wait(self, engine: Engine) -> None:
        """The dispatcher has no reason to look again soon."""
        backlog(engine, 2)
        with engine.begin() as tx:
            set_limits(tx, Scope.KIND, Note.spec.kind, max_running=2, weight=None)
            set_limits(tx, Scope.KIND, LazyNote.spec.kind, max_running=0, weight=None)
            enqueue_many(tx, new_id(), [NewJob(job=LazyNote())])
        assert len(send(engine, this := Round())) == 2
        assert send(engine, this) == []
        assert not this.curbed

    def test_what_is_limited_does_not_keep_the_tenant_s_other_kinds(
        self, engine: Engine, tenant: Customer
    ) -> None:
        backlog(engine, 20, of=tenant.id)
        with engine.begin() as tx:
            enqueue_many(tx, tenant.id, [NewJob(job=KeyedNote()) for _ in range(20)])
            set_limits(tx, Scope.KIND, Note.spec.kind, max_running=2, weight=None)
        first = send(engine, this := Round(), room=10)
        assert Counter(job.kind for job in first) == {Note.spec.kind: 2, KeyedNote.spec.kind: 8}
        assert this.again, "the kind is used up, and others may be next"

    @pytest.mark.parametrize("urgent", [1, 20])
    def test_what_one_queue_has_no_use_for_is_for_the_tenant_s_others(
        self, engine: Engine, tenant: Customer, urgent: int
    ) -> None:
        """Also where it has no use for it because its kind has a limit of its own."""
        backlog(engine, 20, of=tenant.id)
        with engine.begin() as tx:
            enqueue_many(tx, tenant.id, [NewJob(job=UrgentNote()) for _ in range(urgent)])
            set_limits(tx, Scope.TENANT, str(tenant.id), max_running=5, weight=None)
            set_limits(tx, Scope.KIND, UrgentNote.spec.kind, max_running=1, weight=None)
        due = send(engine, this := Round(), room=10)
        assert Counter(job.queue for job in due) == {"high": 1, "default": 4}
        assert send(engine, this) == []
        assert this.curbed

    def test_what_is_over_it_only_with_all_queues_together_is_looked_at_again_soon(
        self, engine: Engine, tenant: Customer
    ) -> None:
        backlog(engine, 3, of=tenant.id)
        with engine.begin() as tx:
            enqueue_many(tx, tenant.id, [NewJob(job=UrgentNote()) for _ in range(3)])
            set_limits(tx, Scope.TENANT, str(tenant.id), max_running=5, weight=None)
        due = send(engine, this := Round(), room=3)
        assert Counter(job.queue for job in due) == {"high": 3, "default": 2}
        assert this.curbed

    def test_two_dispatchers_do_not_exceed_it(self, engine: Engine) -> None:
        limited = backlog(engine, 20)
        with engine.begin() as tx:
            set_limits(tx, Scope.TENANT, str(limited), max_running=3, weight=None)
        send(engine)
        send(engine)
        with engine.begin() as tx:
            assert tx.execute(text("SELECT count(*) FROM in_flight")).scalar_one() == 3
