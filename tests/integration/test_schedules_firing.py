"""Firing: one job per slot, however many dispatchers, whatever their clocks say, whoever else is broken."""

import ast
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

import app.schedules
from app.jobs import ReportDaily
from app.schedules.catch_up import ALL_PER_ROUND, CatchUp
from app.schedules.firing import fire_due, seconds_to_next
from app.settings import Settings
from tests.support.customers import Customer, make_customer
from tests.support.dispatching import dispatching
from tests.support.jobs import LazyNote, Note, UrgentNote, count, events, job_facts
from tests.support.queues import Queues
from tests.support.schedules import (
    KINDS,
    add_schedule,
    change,
    fire,
    fired,
    make_due,
    row_of,
)
from tests.support.servers import wait_for

MINUTE = timedelta(minutes=1)


def database_minute(engine: Engine) -> datetime:
    with engine.connect() as tx:
        minute: datetime = tx.execute(
            text("SELECT date_trunc('minute', clock_timestamp())")
        ).scalar_one()
        return minute


def test_a_slot_becomes_a_job_that_is_due(engine: Engine, tenant: Customer) -> None:
    schedule = add_schedule(engine, tenant.id, job=Note(text="hello"))
    (slot,) = make_due(engine, schedule)
    assert fire(engine) == 1
    made = fired(engine, schedule)
    assert list(made) == [slot]
    assert job_facts(engine, made[slot]).outbox
    assert events(engine, made[slot]) == ["enqueue"]
    row = row_of(engine, schedule)
    assert row["next_at"] > slot
    assert (row["last_slot_at"], row["last_job_id"]) == (slot, made[slot])
    with engine.connect() as tx:
        query = text("SELECT tenant_id, kind, payload FROM jobs")
        assert tuple(tx.execute(query).one()) == (tenant.id, "test.note", {"text": "hello"})


def test_before_its_slot_nothing_happens(engine: Engine, tenant: Customer) -> None:
    schedule = add_schedule(engine, tenant.id, cron="0 0 1 1 *")
    assert fire(engine) == 0
    assert fired(engine, schedule) == {}
    with engine.connect() as tx:
        wait = seconds_to_next(tx)
    assert wait is not None
    assert 0 < wait < 367 * 86400


def test_how_long_to_wait(engine: Engine, tenant: Customer) -> None:
    with engine.connect() as tx:
        assert seconds_to_next(tx) is None
    schedule = add_schedule(engine, tenant.id)
    with engine.connect() as tx:
        wait = seconds_to_next(tx)
    assert wait is not None
    assert 0 <= wait <= 60
    make_due(engine, schedule, slots=3)
    with engine.connect() as tx:
        assert seconds_to_next(tx) == 0


def test_what_is_rolled_back_was_not_fired(engine: Engine, tenant: Customer) -> None:
    schedule = add_schedule(engine, tenant.id)
    (slot,) = make_due(engine, schedule)
    with engine.connect() as tx:
        assert fire_due(tx, KINDS) == 1
        tx.rollback()
    assert (count(engine, "jobs"), count(engine, "schedule_slots")) == (0, 0)
    assert row_of(engine, schedule)["next_at"] == slot


def test_many_dispatchers_fire_each_slot_once(engine: Engine) -> None:
    customers = [make_customer(engine) for _ in range(3)]
    schedules = [
        add_schedule(engine, customer.id, catch_up=CatchUp.ALL, job=job)
        for customer in customers
        for job in (Note(), UrgentNote(), LazyNote(), Note(text="again"))
    ]
    slots = {schedule: make_due(engine, schedule, slots=20) for schedule in schedules}

    def dispatcher(_: int) -> int:
        rounds = 0
        while fire(engine, batch=2):
            rounds += 1
        return rounds

    with ThreadPoolExecutor(6) as pool:
        rounds = list(pool.map(dispatcher, range(6)))
    assert sum(rounds) >= len(schedules) / 2
    for schedule, missed in slots.items():
        made = fired(engine, schedule)
        assert set(missed) <= set(made)
        assert len(set(made.values())) == len(made)
    assert count(engine, "jobs") == count(engine, "schedule_slots")


def test_a_schedule_that_another_dispatcher_holds_is_left_to_it(
    engine: Engine, tenant: Customer
) -> None:
    schedule, other = (add_schedule(engine, tenant.id) for _ in range(2))
    (slot,) = make_due(engine, schedule)
    with engine.begin() as tx:  # a minute may be over since it was made
        change(tx, other, next_at=slot + timedelta(hours=1))
    with engine.connect() as first:
        assert fire_due(first, KINDS) == 1
        make_due(engine, other)
        assert fire(engine) == 1
        first.commit()
    assert len(fired(engine, schedule)) == len(fired(engine, other)) == 1


def test_a_slot_that_was_fired_is_not_fired_again(engine: Engine, tenant: Customer) -> None:
    """As after a failover to a database whose clock is behind."""
    schedule = add_schedule(engine, tenant.id, catch_up=CatchUp.ALL)
    missed = make_due(engine, schedule, slots=3)
    fire(engine)
    before = fired(engine, schedule)
    with engine.begin() as tx:
        change(tx, schedule, next_at=missed[0])
    assert fire(engine) == 1
    after = fired(engine, schedule)
    assert {slot: after[slot] for slot in before} == before
    assert row_of(engine, schedule)["last_job_id"] == list(after.values())[-1]


def test_the_slots_key_is_the_last_word(engine: Engine, tenant: Customer) -> None:
    schedule = add_schedule(engine, tenant.id)
    (slot,) = make_due(engine, schedule)
    fire(engine)
    with engine.connect() as tx, pytest.raises(IntegrityError, match="pk_schedule_slots"):
        tx.execute(
            text("INSERT INTO schedule_slots VALUES (:id, :slot, :id)"),
            {"id": schedule, "slot": slot},
        )


def test_after_downtime_each_policy_does_what_it_says(engine: Engine, tenant: Customer) -> None:
    none, last, every = (
        add_schedule(engine, tenant.id, catch_up=policy)
        for policy in (CatchUp.NONE, CatchUp.LAST, CatchUp.ALL)
    )
    for schedule in (none, last, every):
        missed = make_due(engine, schedule, slots=10)
    assert fire(engine) == 3
    newest = database_minute(engine)
    assert set(fired(engine, none)) <= {newest - MINUTE, newest, newest + MINUTE}
    assert set(fired(engine, none)) & {newest, newest - MINUTE}
    assert len(fired(engine, last)) == 1
    assert list(fired(engine, every))[:10] == missed
    for schedule in (none, last, every):
        assert row_of(engine, schedule)["next_at"] > missed[-1]


def test_a_long_downtime_is_made_up_for_in_rounds(engine: Engine, tenant: Customer) -> None:
    schedule = add_schedule(engine, tenant.id, catch_up=CatchUp.ALL)
    missed = make_due(engine, schedule, slots=ALL_PER_ROUND + 5)
    assert fire(engine) == 1
    assert list(fired(engine, schedule)) == missed[:ALL_PER_ROUND]
    assert row_of(engine, schedule)["next_at"] == missed[ALL_PER_ROUND]
    assert fire(engine) == 1
    assert list(fired(engine, schedule))[: len(missed)] == missed


def test_a_batch_is_bounded_and_the_longest_due_come_first(
    engine: Engine, tenant: Customer
) -> None:
    schedules = [add_schedule(engine, tenant.id) for _ in range(3)]
    for slots, schedule in zip((2, 9, 5), schedules, strict=True):
        make_due(engine, schedule, slots=slots)
    assert fire(engine, batch=1) == 1
    assert [len(fired(engine, schedule)) for schedule in schedules] == [0, 1, 0]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"kind": "gone.kind"}, "unknown_kind"),
        ({"payload": '{"no such": 1}'}, "invalid_payload"),
        ({"version": 7}, "wrong_version"),
        ({"cron": "nonsense"}, "invalid_cron"),
        ({"timezone": "Mars/Olympus"}, "unknown_timezone"),
        ({"catch_up": "none", "cron": "0 0 1 1 1#9"}, "invalid_cron"),
    ],
)
def test_a_broken_schedule_is_paused_with_its_reason_and_holds_up_nobody(
    engine: Engine, tenant: Customer, wrong: dict[str, object], code: str
) -> None:
    broken, sound = (add_schedule(engine, tenant.id) for _ in range(2))
    make_due(engine, broken, slots=2)
    make_due(engine, sound)
    with engine.begin() as tx:
        change(tx, broken, **wrong)
    assert fire(engine) == 2
    row = row_of(engine, broken)
    assert row["next_at"] is None
    assert row["paused_at"] is not None
    assert row["error"]["code"] == code
    assert len(row["error"]["message"]) > 10
    assert fired(engine, broken) == {}
    assert len(fired(engine, sound)) == 1
    assert fire(engine) == 0


def test_a_fault_of_ours_pauses_only_what_it_touches(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faulty(Note):
        @classmethod
        def read(cls, version: int, payload: object) -> "Faulty":
            raise ZeroDivisionError("a bug")

    broken, sound = (
        add_schedule(engine, tenant.id),
        add_schedule(engine, tenant.id, job=LazyNote()),
    )
    make_due(engine, broken)
    make_due(engine, sound)
    assert fire(engine, {**KINDS, "test.note": Faulty}) == 2
    assert row_of(engine, broken)["error"] == {
        "code": "fault",
        "message": "ZeroDivisionError: a bug",
    }
    assert len(fired(engine, sound)) == 1


def test_no_process_is_asked_for_the_time() -> None:
    """The database's clock decides, so that a dispatcher's may be off by minutes."""
    clocks = {"now", "utcnow", "today", "time", "monotonic", "time_ns"}
    for path in Path(app.schedules.__file__).parent.glob("*.py"):
        calls = (
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        )
        asked = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
        assert not asked & clocks, path


def test_dispatchers_fire_and_publish(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    """The whole way: from the slot to a message on the job's queue, with two dispatchers at it."""
    schedule = add_schedule(
        engine, tenant.id, job=ReportDaily(), cron="* * * * *", catch_up=CatchUp.ALL
    )
    missed = make_due(engine, schedule, slots=4)
    with dispatching(settings, engine, dispatchers=2):
        wait_for(lambda: set(missed) <= set(fired(engine, schedule)), what="the slots' jobs")
        jobs = [fired(engine, schedule)[slot] for slot in missed]
        wait_for(lambda: all(job_facts(engine, job).state == "queued" for job in jobs))
    made = fired(engine, schedule)
    assert len(set(made.values())) == len(made) == count(engine, "jobs")
    published = queues.job_ids("low")
    assert all(published.count(str(job)) == 1 for job in jobs)
