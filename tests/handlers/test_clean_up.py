"""The clean-up: what is old and has ended goes, with all that belongs to it; everything else stays."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.api.idempotency import Answer, remember
from app.ids import SYSTEM_TENANT
from app.jobs import CleanUp
from app.ledger.prune import prune_jobs
from app.ledger.replay import DeadFilter, replay
from app.ledger.state import Event
from app.ledger.store import settle
from app.retention import KEPT
from app.settings import Settings
from app.storage import Storage
from app.upkeep.kept import Kept
from app.upkeep.prune import Place, Round, prune_some
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.imports import accepted_import, csv_bytes, run_imports
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    assert_lawful,
    claim_now,
    count,
    job_facts,
    running,
)
from tests.support.runtime import Worker
from tests.support.schedules import KINDS, add_schedule, fire, fired, make_due
from workers.handlers import clean_up as handler
from workers.runtime.executor import Disposition

OLD, YOUNG = 31.0, 29.0
"""Days, on both sides of the default retention."""


def ended(engine: Engine, tenant_id: UUID, days: float, event: Event = Event.SUCCEED) -> UUID:
    """A job that was made and ended so long ago."""
    job = running(engine, tenant_id, Note())
    with engine.begin() as tx:
        settle(tx, job, event)
    return aged(engine, job.id, days)


def aged(engine: Engine, job_id: UUID, days: float) -> UUID:
    """The job as if it had been made and had ended then: its id tells when it was made."""
    moment = days_ago(engine, days)
    made = UUID(int=(int(moment.timestamp() * 1000) << 80) | (job_id.int & ((1 << 80) - 1)))
    with engine.begin() as tx:
        for table, column in (
            ("jobs", "id"),
            ("job_history", "job_id"),
            ("outbox", "job_id"),
            ("in_flight", "job_id"),
            ("schedule_slots", "job_id"),
        ):
            tx.execute(
                text(f"UPDATE {table} SET {column} = :made WHERE {column} = :id"),  # noqa: S608
                {"made": made, "id": job_id},
            )
        tx.execute(
            text("""
                UPDATE jobs SET created_at = :at,
                       finished_at = CASE WHEN finished_at IS NOT NULL THEN CAST(:at AS timestamptz) END
                WHERE id = :id
            """),
            {"at": moment, "id": made},
        )
    return made


def dead(engine: Engine, tenant_id: UUID, days: float, *, letter: str | None) -> UUID:
    """A job that died then; `letter` is the state of its dead letter."""
    job_id = ended(engine, tenant_id, days, Event.DIE)
    if letter is not None:
        add_letter(engine, job_id, days, state=letter)
    return job_id


def add_letter(engine: Engine, job_id: UUID | None, days: float, *, state: str) -> None:
    moment = days_ago(engine, days)
    with engine.begin() as tx:
        tx.execute(
            text("""
                WITH incident AS (
                    INSERT INTO incidents (id, fingerprint, code, message, state, first_seen, last_seen)
                    VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 'x', 'resolved', :at, :at)
                    RETURNING id
                )
                INSERT INTO dead_letters (id, incident_id, job_id, attempt, code, error, state,
                                          first_failed_at, last_failed_at, closed_at)
                SELECT gen_random_uuid(), id, :job_id, 1, 'x', '{}', :state, :at, :at,
                       CASE WHEN :state <> 'open' THEN CAST(:at AS timestamptz) END
                FROM incident
            """),
            {"job_id": job_id, "state": state, "at": moment},
        )


def jobs(engine: Engine) -> set[UUID]:
    with engine.connect() as tx:
        return set(tx.execute(text("SELECT id FROM jobs WHERE kind = 'test.note'")).scalars())


def clean(worker: Worker, engine: Engine) -> UUID:
    job_id = add_queued(engine, SYSTEM_TENANT, CleanUp())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    return job_id


def test_old_jobs_that_have_ended_go_with_their_history(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    gone = {
        ended(engine, tenant.id, OLD, event) for event in (Event.SUCCEED, Event.CANCEL, Event.DIE)
    }
    kept = {
        ended(engine, tenant.id, YOUNG),
        aged(engine, add(engine, tenant.id, Note()), OLD),
        aged(engine, running(engine, tenant.id, Note()).id, OLD),
    }
    assert jobs(engine) == gone | kept
    job_id = clean(worker, engine)
    assert job_facts(engine, job_id).state == "succeeded"
    assert jobs(engine) == kept
    assert assert_lawful(engine) == len(kept) + 1
    with engine.connect() as tx:
        orphans = text(
            "SELECT count(*) FROM job_history WHERE NOT job_id = ANY(SELECT id FROM jobs)"
        )
        assert tx.execute(orphans).scalar_one() == 0


def test_a_job_that_was_made_long_ago_and_ended_lately_stays(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    job_id = ended(engine, tenant.id, OLD)
    set_columns(engine, "jobs", job_id, finished_at=days_ago(engine, YOUNG))
    clean(worker, engine)
    assert jobs(engine) == {job_id}


def test_a_dead_job_stays_for_as_long_as_its_dead_letter_is_open(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    kept = dead(engine, tenant.id, OLD * 10, letter="open")
    for state in ("discarded", "replayed"):
        dead(engine, tenant.id, OLD, letter=state)
    clean(worker, engine)
    assert jobs(engine) == {kept}
    assert count(engine, "dead_letters") == count(engine, "incidents") == 1
    with engine.begin() as tx:
        chosen = DeadFilter(job_ids=[kept])
        assert replay(tx, KINDS, {}, chosen, reason="test").job_ids == [kept]


def test_closed_dead_letters_of_no_job_go_too(worker: Worker, engine: Engine) -> None:
    for days, state in ((OLD, "discarded"), (YOUNG, "discarded"), (OLD, "open")):
        add_letter(engine, None, days, state=state)
    clean(worker, engine)
    assert count(engine, "dead_letters") == count(engine, "incidents") == 2


def test_an_incident_that_is_to_be_ignored_for_longer_is_remembered(
    worker: Worker, engine: Engine
) -> None:
    add_letter(engine, None, OLD, state="discarded")
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE incidents SET state = 'ignored', ignored_until = now() + interval '1 h'")
        )
    clean(worker, engine)
    assert (count(engine, "dead_letters"), count(engine, "incidents")) == (0, 1)


def test_effects_go_with_their_job(worker: Worker, engine: Engine, tenant: Customer) -> None:
    old, young = (ended(engine, tenant.id, days) for days in (OLD, YOUNG))
    with engine.begin() as tx:
        tx.execute(
            text("""
                INSERT INTO effects (job_id, name, attempt, begun_at, done_at)
                SELECT id, 'mail', 1, now(), now() FROM jobs WHERE id IN (:old, :young)
            """),
            {"old": old, "young": young},
        )
    clean(worker, engine)
    with engine.connect() as tx:
        assert tx.execute(text("SELECT job_id FROM effects")).scalars().all() == [young]


def test_spent_answers_go(worker: Worker, engine: Engine, tenant: Customer) -> None:
    answer = Answer(request_hash="x", status=202, location="/x", body={})
    for days, key in ((OLD, "old"), (YOUNG, "young")):
        with engine.begin() as tx:
            remember(tx, tenant.id, "POST /x", key, answer)
            tx.execute(
                text("UPDATE idempotency_keys SET created_at = :at WHERE key = :key"),
                {"at": days_ago(engine, days), "key": key},
            )
    clean(worker, engine)
    with engine.connect() as tx:
        assert tx.execute(text("SELECT key FROM idempotency_keys")).scalars().all() == ["young"]


def test_what_undo_needs_goes_when_an_import_can_no_longer_be_undone(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    for days in (OLD, YOUNG):
        data = csv_bytes(["Email", "Company"], ["ada@example.com", f"{days} days"])
        import_id = accepted_import(engine, storage, tenant.id, data)
        run_imports(worker, engine)
        with engine.begin() as tx:
            query = text("UPDATE imports SET finished_at = :at WHERE id = :id")
            tx.execute(query, {"id": import_id, "at": days_ago(engine, days)})
    clean(worker, engine)
    with engine.connect() as tx:
        query = text("""
            SELECT c.inserted_ids IS NOT NULL OR c.before IS NOT NULL FROM import_chunks c
            JOIN imports i ON i.id = c.import_id ORDER BY i.finished_at
        """)
        assert tx.execute(query).scalars().all() == [False, True]


def test_old_slots_go_but_for_a_schedules_newest(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    schedule = add_schedule(engine, tenant.id)
    for days in (OLD + 2, OLD + 1):
        make_due(engine, schedule)
        fire(engine)
        (slot,) = (slot for slot in fired(engine, schedule) if slot > days_ago(engine, 1))
        with engine.begin() as tx:
            parameters = {"at": days_ago(engine, days), "slot": slot}
            query = text("UPDATE schedule_slots SET slot_at = :at WHERE slot_at = :slot")
            tx.execute(query, parameters)
            query = text("UPDATE schedules SET last_slot_at = :at WHERE last_slot_at = :slot")
            tx.execute(query, parameters)
    assert count(engine, "schedule_slots") == 2
    clean(worker, engine)
    with engine.connect() as tx:
        left = text("SELECT slot_at < now() - interval '32 d 12 h' FROM schedule_slots")
        assert tx.execute(left).scalars().all() == [False]


def small_batches(patch: pytest.MonkeyPatch, size: int, *, stop_at: int = 1 << 30) -> list[Place]:
    """Batches of `size`, and an error in place of batch number `stop_at`. Returns what was begun."""
    begun: list[Place] = []

    def some(tx: Any, kept: Any, place: Place, days: Any) -> Round:
        begun.append(place)
        if len(begun) == stop_at:
            raise ConnectionError("the worker is lost")
        return prune_some(tx, kept, place, days, batch=size)

    patch.setattr(handler, "prune_some", some)
    return begun


def test_it_works_in_small_commits_and_goes_on_where_it_was_interrupted(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        ended(engine, tenant.id, OLD)
    begun = small_batches(monkeypatch, 2, stop_at=3)
    job_id = add_queued(engine, SYSTEM_TENANT, CleanUp())
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    assert len(jobs(engine)) == 3
    with engine.begin() as tx:
        saved = tx.execute(
            text("SELECT checkpoint FROM jobs WHERE id = :id"), {"id": job_id}
        ).scalar_one()
        tx.execute(text("UPDATE jobs SET state = 'queued' WHERE id = :id"), {"id": job_id})
    assert saved["removed"] == {"jobs": 4}
    worker.deliver(job_id)
    assert begun[3].after == saved["after"] == begun[2].after
    assert jobs(engine) == set()
    assert job_facts(engine, job_id).state == "succeeded"


def test_it_hands_itself_back_before_its_limit(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(engine, tenant.id, OLD)
    assert CleanUp.spec.soft_seconds > handler.ROUND_SECONDS
    monkeypatch.setattr(handler, "ROUND_SECONDS", -1.0)
    job_id = clean(worker, engine)
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.error) == ("scheduled", None)
    assert facts.max_attempts == CleanUp.spec.retry.attempts + 1
    assert len(jobs(engine)) == 1


def test_only_one_cleans_up_at_a_time(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(engine, tenant.id, OLD)
    second = add_queued(engine, SYSTEM_TENANT, CleanUp())
    seen: list[str] = []

    def meanwhile(tx: Any, kept: Any, place: Place, days: Any) -> Round:
        if not seen:
            seen.append("first")
            assert worker.deliver(second) is Disposition.ACKNOWLEDGE
            seen.append(job_facts(engine, second).state)
        return prune_some(tx, kept, place, days)

    monkeypatch.setattr(handler, "prune_some", meanwhile)
    first = clean(worker, engine)
    assert seen == ["first", "scheduled"]
    assert job_facts(engine, first).state == "succeeded"
    assert jobs(engine) == set()


def test_a_job_that_is_being_replayed_right_now_is_left_alone(
    engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, OLD, letter="discarded")
    with engine.connect() as theirs:
        chosen = DeadFilter(job_ids=[job_id])
        assert replay(theirs, KINDS, {}, chosen, reason="test").job_ids == [job_id]
        with engine.begin() as tx:
            tx.execute(text("SET LOCAL lock_timeout = '5s'"))
            assert prune_jobs(tx, None, days=30).removed == 0
        theirs.commit()
    with engine.begin() as tx:
        assert prune_jobs(tx, None, days=30).removed == 0
        assert claim_now(tx, job_id) is None
    assert jobs(engine) == {job_id}


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.what)
def test_every_step_says_that_it_goes_on_only_while_there_is_more(
    engine: Engine, kept: Kept
) -> None:
    with engine.begin() as tx:
        assert kept.step(tx, None, days=30, batch=10).after is None


class TestAnotherRetention:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_RETENTION_DAYS": "3"}

    def test_the_setting_decides(
        self, worker: Worker, engine: Engine, tenant: Customer, settings: Settings
    ) -> None:
        assert settings.retention_days == 3
        ended(engine, tenant.id, 4.5)
        kept = ended(engine, tenant.id, 2.5)
        clean(worker, engine)
        assert jobs(engine) == {kept}
