"""Unique keys that lapse, and posts that put a job off: which job a post gets, whatever happened before it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as walk
from sqlalchemy import Engine, text

from app.errors import Conflict
from app.ledger import store
from app.ledger.cancel import cancel
from app.ledger.enqueue import Enqueued, NewJob, enqueue, enqueue_many
from app.ledger.outbox import mark_queued, take_due
from app.ledger.rescue import rescue_queued
from app.ledger.state import FINISHED, Event, State
from app.ledger.uniqueness import Debounce, UniqueUntil
from tests.support.customers import Customer
from tests.support.jobs import (
    Note,
    OrderedNote,
    assert_in_its_place,
    assert_keys_are_kept,
    assert_lawful,
    claim_now,
    count,
    events,
    job_facts,
)
from tests.support.servers import wait_for

HOUR = 3600.0
POLICIES: dict[str, dict[str, Any]] = {
    "kept": {},
    "window": {"unique_for": HOUR},
    "published": {"unique_until": UniqueUntil.PUBLISHED},
    "ended": {"unique_until": UniqueUntil.ENDED},
    "window or ended": {"unique_for": HOUR, "unique_until": UniqueUntil.ENDED},
    "debounce": {"debounce": Debounce(seconds=60)},
}


def post(engine: Engine, tenant: Customer, words: str = "", **more: Any) -> Enqueued:
    with engine.begin() as tx:
        return enqueue(tx, tenant.id, Note(text=words), unique_key="key", **more)


def dispatch(engine: Engine) -> list[UUID]:
    with engine.begin() as tx:
        due = [job.id for job in take_due(tx, batch=10)]
        mark_queued(tx, due)
    return due


def make_due(engine: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("UPDATE outbox SET run_at = clock_timestamp() WHERE NOT ready"))


def age(engine: Engine, seconds: float) -> None:
    """As if everything had been posted so much earlier."""
    with engine.begin() as tx:
        for column in ("unique_lapses_at", "debounce_until"):
            earlier = f"{column} - make_interval(secs => :seconds)"
            tx.execute(text(f"UPDATE jobs SET {column} = {earlier}"), {"seconds": seconds})  # noqa: S608


def payload(engine: Engine, job_id: UUID) -> str:
    with engine.connect() as tx:
        query = text("SELECT payload ->> 'text' FROM jobs WHERE id = :id")
        return str(tx.execute(query, {"id": job_id}).scalar_one())


class Posts(RuleBasedStateMachine):
    """One key. Who has it is told by the newest job's state, history and age."""

    engine: Engine
    tenant: Customer
    policy: str

    @initialize()
    def begin(self) -> None:
        with self.engine.begin() as tx:
            tx.execute(text("TRUNCATE jobs, job_history, outbox, in_flight"))
        self.jobs: list[UUID] = []
        self.age = 0.0
        self.number = 0

    @property
    def newest(self) -> State:
        return State(job_facts(self.engine, self.jobs[-1]).state)

    def taken(self) -> bool:
        """Whether the newest job has the key."""
        if not self.jobs:
            return False
        in_time = "window" not in self.policy or self.age < HOUR
        if self.policy in {"published", "debounce"}:
            return "dispatch" not in events(self.engine, self.jobs[-1]) and (
                self.newest not in FINISHED
            )
        return in_time and ("ended" not in self.policy or self.newest not in FINISHED)

    @rule()
    def post(self) -> None:
        taken = self.taken()
        self.number += 1
        made = post(self.engine, self.tenant, str(self.number), **POLICIES[self.policy])
        assert made.created is not taken
        if taken:
            assert made.id == self.jobs[-1]
        else:
            assert made.id not in self.jobs
            self.jobs.append(made.id)
            self.age = 0.0
        newest_words = not taken or self.policy == "debounce"
        assert (payload(self.engine, made.id) == str(self.number)) is newest_words

    @rule()
    def dispatch(self) -> None:
        make_due(self.engine)
        dispatch(self.engine)

    @rule(event=st.sampled_from([Event.SUCCEED, Event.RETRY, Event.DIE]))
    def run(self, event: Event) -> None:
        if self.jobs:
            with self.engine.begin() as tx:
                job = claim_now(tx, self.jobs[-1])
                if job is not None:
                    store.settle(tx, job, event)

    @rule()
    def lose_message(self) -> None:
        if self.jobs:
            with self.engine.begin() as tx:
                rescue_queued(tx, self.jobs[-1], code="message_lost", message="lost")

    @rule()
    def cancel(self) -> None:
        if self.jobs:
            try:
                with self.engine.begin() as tx:
                    cancel(tx, {}, self.tenant.id, self.jobs[-1], reason="enough")
            except Conflict:
                assert self.newest in FINISHED

    @rule(seconds=st.sampled_from([10.0, HOUR]))
    def time_passes(self, seconds: float) -> None:
        age(self.engine, seconds)
        self.age += seconds

    @invariant()
    def jobs_are_in_their_places(self) -> None:
        assert_in_its_place(self.engine)
        assert assert_lawful(self.engine) == len(self.jobs)


@pytest.mark.parametrize("policy", POLICIES)
def test_whatever_happens_a_post_gets_the_job_that_has_the_key(
    engine: Engine, tenant: Customer, policy: str
) -> None:
    def machine() -> Any:
        made = Posts()
        made.engine, made.tenant, made.policy = engine, tenant, policy
        return made

    walk(
        machine,  # type: ignore[arg-type]
        settings=examples(
            max_examples=6,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(
    ("policy", "after_dispatch", "after_retry", "after_an_hour", "after_the_end"),
    [
        ("kept", True, True, True, True),
        ("window", True, True, False, False),
        ("published", False, False, False, False),
        ("ended", True, True, True, False),
        ("window or ended", True, True, False, False),
    ],
)
def test_when_a_key_lapses(
    engine: Engine,
    tenant: Customer,
    policy: str,
    after_dispatch: bool,
    after_retry: bool,
    after_an_hour: bool,
    after_the_end: bool,
) -> None:
    facts = POLICIES[policy]
    first = post(engine, tenant, **facts)
    assert not post(engine, tenant, **facts).created

    def is_taken() -> bool:
        with engine.connect() as tx:
            taken = not enqueue(tx, tenant.id, Note(), unique_key="key", **facts).created
            tx.rollback()
            return taken

    (sent,) = dispatch(engine)
    assert (sent, is_taken()) == (first.id, after_dispatch)
    settle_now(engine, sent, Event.RETRY)
    assert is_taken() == after_retry
    age(engine, HOUR)
    assert is_taken() == after_an_hour
    dispatch(engine)
    settle_now(engine, sent, Event.SUCCEED)
    assert is_taken() == after_the_end


def settle_now(engine: Engine, job_id: UUID, event: Event) -> None:
    """An attempt that ends so."""
    with engine.begin() as tx:
        job = claim_now(tx, job_id)
        assert job is not None
        store.settle(tx, job, event)


class TestDebounce:
    def test_each_post_puts_it_off_up_to_the_most(self, engine: Engine, tenant: Customer) -> None:
        wait = Debounce(seconds=60, max_seconds=100)
        first = post(engine, tenant, "one", debounce=wait)
        assert 50 < job_facts(engine, first.id).wait_seconds <= 60
        age(engine, 20)
        again = post(engine, tenant, "two", debounce=wait)
        assert (again.id, again.created) == (first.id, False)
        assert 50 < job_facts(engine, first.id).wait_seconds <= 60
        age(engine, 70)
        post(engine, tenant, "three", debounce=wait)
        assert job_facts(engine, first.id).wait_seconds <= 10
        assert job_facts(engine, first.id).outbox
        assert payload(engine, first.id) == "three"
        assert events(engine, first.id) == ["enqueue", "debounce", "debounce"]

    @pytest.mark.parametrize("sent", [True, False])
    def test_a_post_during_the_dispatch_waits_for_what_becomes_of_it(
        self, engine: Engine, tenant: Customer, sent: bool
    ) -> None:
        """What was sent is another's already, and the post makes a new job; else it replaces the payload."""
        wait = Debounce(seconds=60)
        first = post(engine, tenant, "one", debounce=wait)
        make_due(engine)
        with ThreadPoolExecutor(1) as pool, engine.connect() as dispatcher:
            (due,) = take_due(dispatcher, batch=1)
            asking = pool.submit(post, engine, tenant, "two", debounce=wait)
            wait_for(lambda: _blocked(engine) >= 1, what="the post's wait")
            if sent:
                mark_queued(dispatcher, [due.id])
                dispatcher.commit()
            else:
                dispatcher.rollback()
            answer = asking.result(20)
        assert (answer.created, answer.id == first.id) == (sent, not sent)
        assert payload(engine, answer.id) == "two"
        assert payload(engine, first.id) == ("one" if sent else "two")
        assert dispatch(engine) == []

    def test_with_a_concurrency_key_of_the_payload(self, engine: Engine, tenant: Customer) -> None:
        wait = Debounce(seconds=60)
        with engine.begin() as tx:
            for account in ("a", "b"):
                job = OrderedNote(account=account)
                enqueue(tx, tenant.id, job, unique_key="key", debounce=wait)
        assert count(engine, "jobs") == 1
        assert_keys_are_kept(engine)
        make_due(engine)
        with engine.begin() as tx:
            take_due(tx, batch=10, rooms={})  # let in, and not sent
        with engine.begin() as tx:
            enqueue(tx, tenant.id, OrderedNote(account="c"), unique_key="key", debounce=wait)
        assert_keys_are_kept(engine)
        with engine.connect() as tx:
            lines = tx.execute(text("SELECT concurrency_key FROM key_lines")).scalars().all()
        assert lines == ["test.ordered:account=c"]
        assert count(engine, "outbox WHERE ready") == 0

    def test_does_not_touch_a_job_that_was_posted_without_one(
        self, engine: Engine, tenant: Customer
    ) -> None:
        first = post(engine, tenant, "one")
        again = post(engine, tenant, "two", debounce=Debounce(seconds=60))
        assert again == Enqueued(first.id, created=False)
        assert payload(engine, first.id) == "one"


@pytest.mark.parametrize(
    "facts",
    [
        {"unique_for": 5.0},
        {"unique_until": UniqueUntil.ENDED},
        {"debounce": Debounce(seconds=1)},
        {"unique_key": "k", "unique_for": 0.0},
        {
            "unique_key": "k",
            "debounce": Debounce(seconds=1),
            "run_at": datetime.now(tz=UTC) + timedelta(hours=1),
        },
    ],
)
def test_what_makes_no_sense_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unique_key|unique_for|debounce"):
        NewJob(job=Note(), **facts)


def test_of_many_posts_at_once_to_a_lapsed_key_one_makes_a_job(
    engine: Engine, tenant: Customer
) -> None:
    old = post(engine, tenant, unique_for=HOUR)
    age(engine, HOUR)
    together = threading.Barrier(6)
    answers: list[Enqueued] = []

    def ask() -> None:
        together.wait(10)
        answers.append(post(engine, tenant, unique_for=HOUR))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(one.created for one in answers) == [False] * 5 + [True]
    assert len({one.id for one in answers} | {old.id}) == 2


def test_twice_in_one_call(engine: Engine, tenant: Customer) -> None:
    wait = Debounce(seconds=60)
    with engine.begin() as tx:
        new = [NewJob(job=Note(text=w), unique_key="k", debounce=wait) for w in ("one", "two")]
        first, second = enqueue_many(tx, tenant.id, new)
    assert (first.created, second.created, second.id) == (True, False, first.id)
    assert payload(engine, first.id) == "two"


WISH = {"kind": "report.daily", "payload": {"day": "2026-05-01"}, "unique_key": "may"}


def test_through_the_api(api: httpx.Client, engine: Engine) -> None:
    wish = {**WISH, "debounce": 30, "debounce_max": 90}
    first = api.post("/v1/jobs", json=wish).json()
    again = api.post("/v1/jobs", json={**wish, "payload": {"day": "2026-05-02"}})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert [line["event"] for line in again.json()["history"]] == ["enqueue", "debounce"]
    make_due(engine)
    dispatch(engine)
    shown = api.get(f"/v1/jobs/{first['id']}").json()
    assert (shown["unique_key"], shown["unique_key_lapsed"]) == ("may", True)
    assert api.post("/v1/jobs", json=wish).json()["id"] != first["id"]

    window = {**WISH, "unique_key": "june", "unique_for": 60, "unique_until": "ended"}
    one, two = (api.post("/v1/jobs", json=window).json() for _ in range(2))
    assert one["id"] == two["id"]
    assert not two["unique_key_lapsed"]
    for wrong in ({"debounce": 0}, {"debounce": 5, "debounce_max": 1}, {"debounce_max": 1}):
        assert api.post("/v1/jobs", json={**WISH, **wrong}).status_code == 422
    for keyed in ({"unique_for": 5}, {"debounce": 5}, {"unique_until": "ended"}):
        keyless = {"kind": WISH["kind"], "payload": WISH["payload"], **keyed}
        assert api.post("/v1/jobs", json=keyless).status_code == 422


def _blocked(engine: Engine) -> int:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with engine.connect() as tx:
        number: int = tx.execute(query).scalar_one()
        return number
