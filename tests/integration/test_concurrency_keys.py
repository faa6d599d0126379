"""Jobs that run one at a time, or one after the other: who is let in, and that nobody else is in their way."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.ledger import enqueue as enqueueing
from app.ledger import store
from app.ledger.batches import Batch, enqueue_batch
from app.ledger.burial import record_death
from app.ledger.cancel import cancel
from app.ledger.concurrency import MAX_KEY_CHARS, Concurrency
from app.ledger.contract import JobContract, JobSpec
from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from app.ledger.job_error import job_error
from app.ledger.outbox import DueJob, Round, mark_queued, postpone, take_due
from app.ledger.replay import retry_job
from app.ledger.rescue import rescue_expired_leases
from app.ledger.state import Event
from app.ledger.uniqueness import Debounce
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import (
    KeyedNote,
    Note,
    OrderedNote,
    PairedNote,
    add,
    assert_in_its_place,
    assert_keys_are_kept,
    assert_nobody_is_forgotten,
    backdate,
    claim_now,
    count,
    job_facts,
)


class NowOrderedNote(KeyedNote):
    """As a later release has it."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind=KeyedNote.spec.kind, concurrency=Concurrency(key="account", in_order=True)
    )


def add_all(engine: Engine, tenant: Customer, jobs: Sequence[JobContract]) -> list[UUID]:
    with engine.begin() as tx:
        made = enqueue_many(tx, tenant.id, [NewJob(job=job) for job in jobs])
    return [one.id for one in made]


def send(engine: Engine, this: Round | None = None, *, room: int = 500) -> list[DueJob]:
    """One round, as if the broker had taken all."""
    with engine.begin() as tx:
        due = take_due(tx, batch=500, rooms={"default": room}, this=this)
        mark_queued(tx, [job.id for job in due])
    assert_keys_are_kept(engine)
    return due


def ids(due: Sequence[DueJob]) -> list[UUID]:
    return [job.id for job in due]


def run_and(engine: Engine, job_id: UUID, event: Event, *, delay: float = 0) -> None:
    """An attempt that ends so."""
    with engine.begin() as tx:
        job = claim_now(tx, job_id)
        assert job is not None
        store.settle(tx, job, event, delay_seconds=delay)


class TestOneAtATime:
    def test_the_next_goes_when_the_one_before_it_has_ended(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first, second, third = add_all(engine, tenant, [KeyedNote(account="a")] * 3)
        other = add(engine, tenant.id, KeyedNote(account="b"))
        keyless = add(engine, tenant.id, KeyedNote())
        assert set(ids(send(engine))) == {first, other, keyless}
        assert send(engine) == []
        for event, ended, following in (
            (Event.SUCCEED, first, [second]),
            (Event.DIE, second, [third]),
            (Event.CANCEL, third, []),
        ):
            run_and(engine, ended, event)
            assert ids(send(engine)) == following
        assert_in_its_place(engine)
        assert count(engine, "key_wakes") == 0

    def test_as_many_as_the_limit_and_kinds_that_share_a_key(
        self, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        one, two, three = add_all(engine, tenant, [PairedNote(account="a")] * 3)
        with engine.begin() as tx:
            fourth = enqueue(tx, tenant.id, Note(), concurrency_key="account a").id
        theirs = add(engine, stranger.id, PairedNote(account="a"))
        assert set(ids(send(engine))) == {one, two, theirs}
        run_and(engine, one, Event.SUCCEED)
        assert ids(send(engine)) == [three]
        run_and(engine, two, Event.SUCCEED)
        assert send(engine) == []  # the fourth's limit is one
        run_and(engine, three, Event.SUCCEED)
        assert ids(send(engine)) == [fourth]
        fifth, sixth = add_all(engine, tenant, [PairedNote(account="a")] * 2)
        assert send(engine) == []  # nor does it share
        run_and(engine, fourth, Event.SUCCEED)
        assert set(ids(send(engine))) == {fifth, sixth}

    def test_by_priority_then_the_longest_due(self, engine: Engine, tenant: Customer) -> None:
        holder = add(engine, tenant.id, KeyedNote(account="a"))
        send(engine)
        job = KeyedNote(account="a")
        past = datetime.now(tz=UTC) - timedelta(hours=1)
        with engine.begin() as tx:
            new = [NewJob(job=job), NewJob(job=job, run_at=past), NewJob(job=job, priority=-1)]
            made = [one.id for one in enqueue_many(tx, tenant.id, new)]
        for expected in (made[2], made[1], made[0]):
            run_and(engine, holder, Event.SUCCEED)
            assert ids(send(engine)) == [expected]
            holder = expected

    def test_a_retry_lets_others_go_while_it_waits(self, engine: Engine, tenant: Customer) -> None:
        first, second = add_all(engine, tenant, [KeyedNote(account="a")] * 2)
        send(engine)
        run_and(engine, first, Event.RETRY, delay=600)
        assert ids(send(engine)) == [second]
        backdate(engine, first, seconds=601)
        assert send(engine) == []
        run_and(engine, second, Event.SUCCEED)
        assert ids(send(engine)) == [first]

    def test_a_worker_that_is_lost_does_not_keep_the_key(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first, second = add_all(engine, tenant, [KeyedNote(account="a")] * 2)
        send(engine)
        with engine.begin() as tx:
            zombie = claim_now(tx, first)
        assert zombie is not None
        backdate(engine, first, seconds=100)
        with engine.begin() as tx:
            assert rescue_expired_leases(tx) == [first]
        (turn,) = ids(send(engine))
        run_and(engine, turn, Event.SUCCEED)
        assert {turn, *ids(send(engine))} == {first, second}

    def test_a_job_that_is_let_in_and_never_sent_gives_the_key_back(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first, second, third = add_all(engine, tenant, [KeyedNote(account="a")] * 3)
        assert send(engine, room=0) == []
        with engine.begin() as tx:
            cancel(tx, {}, tenant.id, first, reason="enough")
        with engine.begin() as tx:
            postpone(tx, ids(take_due(tx, batch=10)), seconds=600)
        assert ids(send(engine)) == [third]
        assert job_facts(engine, second).state == "scheduled"

    def test_a_row_that_somebody_holds_is_looked_at_again(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first, second = add_all(engine, tenant, [KeyedNote(account="a")] * 2)
        send(engine)
        with engine.connect() as other:
            other.execute(text("SELECT FROM outbox WHERE job_id = :id FOR UPDATE"), {"id": second})
            run_and(engine, first, Event.SUCCEED)
            assert send(engine, this := Round()) == []
            assert this.curbed
            other.rollback()
        assert ids(send(engine)) == [second]

    def test_while_another_dispatcher_is_at_it_nobody_is_let_in_twice_nor_forgotten(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first, second = add_all(engine, tenant, [KeyedNote(account="a")] * 2)
        with engine.connect() as other:
            due = take_due(other, batch=1)
            third = add(engine, tenant.id, KeyedNote(account="a"))
            assert send(engine, this := Round()) == []
            assert this.curbed
            mark_queued(other, ids(due))
            other.commit()
        assert send(engine) == []
        assert ids(due) == [first]
        run_and(engine, first, Event.SUCCEED)
        assert ids(send(engine)) == [second]
        assert_nobody_is_forgotten(engine)
        run_and(engine, second, Event.SUCCEED)
        assert ids(send(engine)) == [third]

    def test_dispatchers_and_workers_that_race(self, engine: Engine, tenant: Customer) -> None:
        jobs = [PairedNote(account=str(n % 3)) for n in range(30)]
        add_all(engine, tenant, [*jobs, *(OrderedNote(account=str(n % 3)) for n in range(30))])

        def work() -> None:
            for _ in range(300):
                for job in send(engine):
                    run_and(engine, job.id, Event.SUCCEED)
                if count(engine, "outbox") == 0:
                    return

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert (count(engine, "outbox"), count(engine, "in_flight")) == (0, 0)
        assert count(engine, "key_lines") == 0


class TestInOrder:
    def test_a_retry_is_not_overtaken(self, engine: Engine, tenant: Customer) -> None:
        first, second = add_all(engine, tenant, [OrderedNote(account="a")] * 2)
        assert ids(send(engine)) == [first]
        run_and(engine, first, Event.RETRY, delay=600)
        assert send(engine) == []
        backdate(engine, first, seconds=601)
        assert ids(send(engine)) == [first]
        run_and(engine, first, Event.DIE)
        assert ids(send(engine)) == [second]

    def test_one_for_later_is_waited_for_and_its_cancel_frees_the_way(
        self, engine: Engine, tenant: Customer
    ) -> None:
        later = datetime.now(tz=UTC) + timedelta(hours=1)
        with engine.begin() as tx:
            first = enqueue(tx, tenant.id, OrderedNote(account="a"), run_at=later).id
            second = enqueue(tx, tenant.id, OrderedNote(account="a"), priority=-9).id
        assert send(engine) == []
        with engine.begin() as tx:
            cancel(tx, {}, tenant.id, first, reason="enough")
        assert ids(send(engine)) == [second]

    @pytest.mark.parametrize("hours", [2, -2])
    def test_whatever_the_clocks_of_those_who_enqueue_say(
        self, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch, hours: int
    ) -> None:
        """The first is off, and is put right before the last post. A replayed one is next all the same."""
        off = int(1000 * (datetime.now(tz=UTC).timestamp() + hours * 3600))
        with monkeypatch.context() as patch:
            made = (UUID(int=off + n << 80 | 7 << 76 | 2 << 62) for n in range(2))
            patch.setattr(enqueueing, "new_id", lambda: next(made))
            first, second = add_all(engine, tenant, [OrderedNote(account="a")] * 2)
        third = add(engine, tenant.id, OrderedNote(account="a"))
        assert ids(send(engine)) == [first]
        run_and(engine, first, Event.DIE)
        with engine.begin() as tx:
            record_death(tx, first, "test.ordered", job_error("test", "it is broken"))
            retry_job(tx, {"test.ordered": OrderedNote}, {}, tenant.id, first, reason="again")
        for expected in (first, second, third):
            assert ids(send(engine)) == [expected]
            run_and(engine, expected, Event.SUCCEED)


class TestAReleaseThatChangesTheOrder:
    @pytest.mark.parametrize("releases", [(KeyedNote, NowOrderedNote), (NowOrderedNote, KeyedNote)])
    def test_a_job_that_is_put_off_by_a_post_of_the_other_release(
        self, engine: Engine, tenant: Customer, releases: Sequence[type[KeyedNote]]
    ) -> None:
        wait = Debounce(seconds=60)
        for release in releases:
            with engine.begin() as tx:
                job = release(account="a")
                first = enqueue(tx, tenant.id, job, unique_key="key", debounce=wait).id
        behind = add(engine, tenant.id, NowOrderedNote(account="a"))
        assert_keys_are_kept(engine)
        backdate(engine, first, seconds=61)
        for expected in (first, behind):
            assert ids(send(engine)) == [expected]
            run_and(engine, expected, Event.SUCCEED)
        assert count(engine, "key_lines") == 0

    def test_those_of_before_are_not_overtaken(self, engine: Engine, tenant: Customer) -> None:
        before = add_all(engine, tenant, [KeyedNote(account="a")] * 2)
        after = add_all(engine, tenant, [NowOrderedNote(account="a")] * 2)
        for expected in (*before, *after):
            assert ids(send(engine)) == [expected]
            run_and(engine, expected, Event.SUCCEED)

    def test_the_first_in_line_waits_for_those_before_it_alone(
        self, engine: Engine, tenant: Customer
    ) -> None:
        """And not for ever, while others of its key may be two at a time."""
        before = add(engine, tenant.id, PairedNote(account="a"))
        assert ids(send(engine)) == [before]
        with engine.begin() as tx:
            mine = NowOrderedNote(account="a")
            ordered = enqueue(tx, tenant.id, mine, concurrency_key="account a").id
        later = add(engine, tenant.id, PairedNote(account="a"))
        for ended, following in ((before, ordered), (ordered, later)):
            assert send(engine) == []
            run_and(engine, ended, Event.SUCCEED)
            assert ids(send(engine)) == [following]


class TestNobodyIsInTheWay:
    def test_of_others_of_the_tenant(self, engine: Engine, tenant: Customer) -> None:
        add_all(engine, tenant, [KeyedNote(account="a")] * 300)
        send(engine, this := Round(), room=5)
        free = [add(engine, tenant.id, job) for job in (Note(), KeyedNote(account="b"))]
        assert set(ids(send(engine, this, room=5))) == set(free)
        assert "default" not in this.again
        assert not this.curbed

    @pytest.mark.parametrize("keys", [1, 700])
    def test_of_other_tenants_with_keys(
        self, engine: Engine, tenant: Customer, stranger: Customer, keys: int
    ) -> None:
        """More than a round looks at, and theirs come last."""
        add_all(engine, tenant, [KeyedNote(account=str(n % keys)) for n in range(700)])
        theirs = add_all(engine, stranger, [KeyedNote(account="a"), OrderedNote(account="a")])
        due = send(engine, this := Round(), room=5)
        assert set(theirs) <= set(ids(due))
        sent = len(due) - len(theirs)
        while this.again:
            sent += len(send(engine, this))
        assert sent == keys
        assert_nobody_is_forgotten(engine)

    def test_while_another_dispatcher_lets_in(
        self, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        """Who can't, leaves the words to the one who can, in their order."""
        add_all(engine, tenant, [KeyedNote(account=str(n)) for n in range(300)])
        with engine.connect() as other:
            take_due(other, batch=1)
            theirs = add(engine, stranger.id, KeyedNote(account="a"))
            for _ in range(3):
                assert send(engine, this := Round()) == []
                assert this.curbed
            assert theirs in ids(take_due(other, batch=100, rooms={"default": 5}))

    def test_whatever_comes_free_at_once(
        self, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        holder, behind = add_all(engine, stranger, [KeyedNote(account="a")] * 2)
        add_all(engine, tenant, [KeyedNote(account=str(n)) for n in range(700)])
        this = Round()
        while count(engine, "outbox WHERE ready") + count(engine, "in_flight") < 701:
            send(engine, this, room=1)
        with engine.begin() as tx:
            for table in ("outbox", "in_flight"):
                gone = text(f"DELETE FROM {table} WHERE tenant_id = :id")  # noqa: S608 - a constant
                tx.execute(gone, {"id": tenant.id})
        run_and(engine, holder, Event.SUCCEED)
        assert behind in ids(send(engine, this, room=5))


def test_what_a_batch_goes_on_with_has_its_key(engine: Engine, tenant: Customer) -> None:
    first = add(engine, tenant.id, OrderedNote(account="a"))
    with engine.begin() as tx:
        enqueue_batch(tx, tenant.id, Batch(on_completion=OrderedNote(account="a")))
    assert ids(send(engine)) == [first]
    assert count(engine, "key_lines") == 2


def test_a_batch_with_a_window_takes_none_that_run_in_order(
    engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx, pytest.raises(ValueError, match="wait for other jobs"):
        enqueue_batch(tx, tenant.id, Batch(jobs=[OrderedNote(account="a")], window=1))


def test_a_long_key_is_kept_as_its_digest(engine: Engine, tenant: Customer) -> None:
    first, _ = add_all(engine, tenant, [KeyedNote(account="a" * 5000)] * 2)
    assert ids(send(engine)) == [first]
    with engine.connect() as tx:
        (key,) = set(tx.execute(text("SELECT concurrency_key FROM jobs")).scalars())
    assert len(key) <= MAX_KEY_CHARS


def test_the_api_and_the_command_line_show_it(
    api: httpx.Client, engine: Engine, tenant: Customer, run: Run
) -> None:
    wish = {
        "kind": "report.daily",
        "payload": {"day": "2026-05-01"},
        "concurrency_key": "ada",
    }
    first, second = (api.post("/v1/jobs", json=wish).json() for _ in range(2))
    with engine.begin() as tx:
        assert len(take_due(tx, batch=10)) == 1
    shown = [api.get(f"/v1/jobs/{job['id']}").json() for job in (first, second)]
    assert [job["waits_for_key"] for job in shown] == [False, True]
    assert {job["concurrency_key"] for job in shown} == {"ada"}
    assert "waits_for_key  True" in run("jobs", "show", second["id"]).out
